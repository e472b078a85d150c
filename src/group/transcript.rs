//! Scripts of who says what when, and what follows.
//!
//! A transcript is lines of text. A line at the margin is something that happens; the indented lines under it are
//! all that follows from it, in order: rows written, replies sent. `transcripts/README.md` lists what can be said.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use tidegate_format::{Generation, GroupMemberValue, GroupValue};

use crate::stage::Stage;
use crate::{
    Change, Command, CommitOffsets, Effects, GroupConfig, GroupError, Heartbeat, Join, JoinedMember, Leave,
    MemberIdentity, Reply, Sync, Ticket, state_name, subscribed_topics,
};

/// Plays a transcript and writes down what really follows from each line.
pub(crate) fn play(script: &str) -> String {
    let mut player = Player { stage: Stage::new(config(script)), written: String::new() };
    for (number, line) in script.lines().enumerate() {
        if line.starts_with("  ") {
            continue;
        }
        player.written.push_str(line);
        player.written.push('\n');
        if !line.is_empty() && !line.starts_with('#') && !line.starts_with("set ") {
            player.line(&Line::parse(number + 1, line));
        }
    }
    player.written
}

fn config(script: &str) -> GroupConfig {
    let mut config = GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() };
    for line in script.lines().filter_map(|line| line.strip_prefix("set ")) {
        let (name, value) = line.split_once('=').expect("set name=value");
        match name {
            "initial_rebalance_delay_ms" => config.initial_rebalance_delay_ms = parse(value),
            "members_max" => config.members_max = parse(value),
            "member_max_bytes" => config.member_max_bytes = parse(value),
            "group_max_bytes" => config.group_max_bytes = parse(value),
            other => panic!("no such setting: {other}"),
        }
    }
    config
}

fn parse<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

/// `[ticket] verb [words] [name=value]...`
struct Line<'a> {
    number: usize,
    ticket: Option<Ticket>,
    verb: &'a str,
    words: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    fn parse(number: usize, line: &'a str) -> Self {
        let mut rest = line.split_whitespace().peekable();
        let ticket = rest.next_if(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        let ticket = ticket.map(|word| Ticket(parse(word)));
        let verb = rest.next().unwrap_or_else(|| panic!("line {number} says nothing"));
        let (options, words): (Vec<&str>, Vec<&str>) = rest.partition(|word| word.contains('='));
        let options = options.into_iter().map(|option| option.split_once('=').expect("name=value"));
        Self { number, ticket, verb, words, options: options.collect() }
    }

    fn ticket(&self) -> Ticket {
        self.ticket.unwrap_or_else(|| panic!("line {} needs a ticket", self.number))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.options.get(name).copied()
    }

    fn word(&self) -> &'a str {
        self.words.first().unwrap_or_else(|| panic!("line {} needs a word", self.number))
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> T {
        self.text(name).map_or(default, parse)
    }

    fn identity(&self) -> MemberIdentity {
        let member_id = self.words.first().copied().unwrap_or_default().to_owned();
        MemberIdentity { member_id, instance: self.text("instance").map(str::to_owned) }
    }

    fn command(&self) -> Command {
        let known: &[&str] = match self.verb {
            "join" => &["id", "instance", "v", "session", "rebalance", "type", "protocols", "client", "host"],
            "sync" => &["generation", "instance", "type", "protocol", "assign"],
            "heartbeat" => &["generation", "instance"],
            "commit" => &["generation", "instance", "transactional"],
            "leave" => &["members"],
            "delete" => &[],
            other => panic!("line {}: nobody can {other}", self.number),
        };
        let unknown = self.options.keys().find(|name| !known.contains(name));
        assert_eq!(unknown, None, "line {}", self.number);
        let generation = Generation(self.number("generation", 1));
        match self.verb {
            "join" => Command::Join(self.join()),
            "sync" => Command::Sync(Sync {
                member: self.identity(),
                generation,
                protocol_type: self.text("type").map(str::to_owned),
                protocol: self.text("protocol").map(str::to_owned),
                assignments: self.text("assign").map(pairs).unwrap_or_default(),
            }),
            "heartbeat" => Command::Heartbeat(Heartbeat { member: self.identity(), generation }),
            "commit" => Command::CommitOffsets(CommitOffsets {
                member: self.identity(),
                generation,
                transactional: self.text("transactional") == Some("yes"),
            }),
            "leave" => {
                let members = self.text("members").expect("members=").split(',').map(|member| {
                    let (member_id, instance) = member.split_once('/').unzip();
                    let member_id = member_id.unwrap_or(member).to_owned();
                    MemberIdentity { member_id, instance: instance.map(str::to_owned) }
                });
                Command::Leave(Leave { members: members.collect() })
            }
            _ => Command::Delete,
        }
    }

    /// `join a` is a first join that will be given the id `a`; `join a id=a` comes with it.
    fn join(&self) -> Join {
        let version: i16 = self.number("v", 9);
        let instance = self.text("instance").map(str::to_owned);
        Join {
            member_id: self.text("id").unwrap_or_default().to_owned(),
            new_member_id: self.word().to_owned(),
            instance,
            client_id: self.text("client").unwrap_or("c").to_owned(),
            client_host: self.text("host").unwrap_or("/h").to_owned(),
            session_timeout_ms: self.number("session", 10_000),
            rebalance_timeout_ms: self.number("rebalance", 60_000),
            protocol_type: self.text("type").unwrap_or("consumer").to_owned(),
            protocols: pairs(self.text("protocols").unwrap_or("range:m")),
            member_id_required: version >= 4,
            can_skip_assignment: version >= 9,
        }
    }
}

/// `name:bytes,name:bytes`; bytes are text, or `topics(a;b)` for a consumer's subscription.
fn pairs(text: &str) -> Vec<(String, Bytes)> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, bytes) = pair.split_once(':').unwrap_or((pair, ""));
        (name.to_owned(), encode_bytes(bytes))
    });
    pairs.collect()
}

fn encode_bytes(text: &str) -> Bytes {
    let Some(topics) = text.strip_prefix("topics(").and_then(|text| text.strip_suffix(')')) else {
        return Bytes::copy_from_slice(text.as_bytes());
    };
    let topics: Vec<&str> = topics.split(';').filter(|topic| !topic.is_empty()).collect();
    let mut bytes = 1_i16.to_be_bytes().to_vec();
    bytes.extend(i32::try_from(topics.len()).expect("few").to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).expect("short").to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

fn show_bytes(bytes: &Bytes) -> String {
    match subscribed_topics(bytes) {
        Ok(topics) => format!("topics({})", topics.join(";")),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn show_pairs(pairs: &[(String, Bytes)]) -> String {
    let shown = pairs.iter().map(|(name, bytes)| format!("{name}:{}", show_bytes(bytes)));
    shown.collect::<Vec<String>>().join(",")
}

struct Player {
    stage: Stage,
    written: String,
}

impl Player {
    fn line(&mut self, line: &Line<'_>) {
        match line.verb {
            "wait" => {
                let until_ms = self.stage.now_ms + parse::<i64>(line.word());
                for (at_ms, effects) in self.stage.wait_until(until_ms) {
                    self.effects(&format!("at {at_ms}: "), &effects);
                }
            }
            "restart" => {
                self.stage.restart();
                self.show_group();
            }
            "show" => self.show_group(),
            "waiting" => {
                let waiting: Vec<String> = self.stage.waiting().map(|ticket| ticket.0.to_string()).collect();
                self.say(
                    if waiting.is_empty() {
                        "nobody".to_owned()
                    } else {
                        format!("tickets {}", waiting.join(" "))
                    }
                    .as_str(),
                );
            }
            "reads" => {
                let reads = self.group().is_subscribed_to(line.word());
                self.say(if reads { "yes" } else { "no" });
            }
            "offset-delete" => {
                let outcome = self.group().check_offset_delete();
                let subscribed = self.group().is_subscribed_to(line.word());
                let outcome =
                    outcome.and(if subscribed { Err(GroupError::GroupSubscribedToTopic) } else { Ok(()) });
                self.say(&show_outcome(outcome, "may delete"));
            }
            "expiry" => {
                let expiry = self.group().offset_expiry();
                self.say(&format!("{expiry:?}"));
            }
            _ => {
                let effects = self.stage.ask(line.ticket(), line.command());
                self.effects("", &effects);
            }
        }
    }

    fn group(&self) -> &crate::Group {
        self.stage.group.as_ref().expect("the group exists")
    }

    fn say(&mut self, text: &str) {
        writeln!(self.written, "  {text}").expect("a string takes everything");
    }

    fn effects(&mut self, prefix: &str, effects: &Effects) {
        for change in &effects.changes {
            self.say(&format!("{prefix}{}", show_change(change)));
        }
        for (ticket, reply) in &effects.replies {
            self.say(&format!("{prefix}{} {}", ticket.0, show_reply(reply)));
        }
    }

    fn show_group(&mut self) {
        let Some(group) = &self.stage.group else { return self.say("no group") };
        let description = group.describe();
        let members = description.members.iter().map(|member| {
            let instance = member.instance.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
            let metadata = show_bytes(&member.metadata);
            format!("{}{instance}:{metadata}:{}", member.member_id, show_bytes(&member.assignment))
        });
        let text = format!(
            "{} generation={} type={} protocol={} members=[{}]",
            state_name(group.state()),
            group.generation(),
            description.protocol_type.as_deref().unwrap_or("-"),
            description.protocol.as_deref().unwrap_or("-"),
            members.collect::<Vec<String>>().join(" "),
        );
        self.say(&text);
    }
}

fn show_outcome(outcome: Result<(), GroupError>, ok: &str) -> String {
    match outcome {
        Ok(()) => ok.to_owned(),
        Err(error) => error.to_string(),
    }
}

fn show_change(change: &Change) -> String {
    match change {
        Change::PutGroup(row) => show_group_row(row),
        Change::DeleteGroup => "delete group".to_owned(),
        Change::PutMember { member_id, value } => show_member_row(member_id, value),
        Change::DeleteMember { member_id } => format!("delete member {member_id}"),
    }
}

fn show_group_row(row: &GroupValue) -> String {
    format!(
        "put group {} generation={} type={} protocol={} leader={} since={}",
        state_name(row.state),
        row.generation,
        row.protocol_type.as_deref().unwrap_or("-"),
        row.protocol.as_deref().unwrap_or("-"),
        row.leader.as_deref().unwrap_or("-"),
        row.state_since_ms,
    )
}

fn show_member_row(member_id: &str, row: &GroupMemberValue) -> String {
    let instance = row.instance.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
    let assignment = show_bytes(&row.assignment);
    format!(
        "put member {member_id}{instance} protocols={} assignment={assignment}",
        show_pairs(&row.protocols)
    )
}

fn show_reply(reply: &Reply) -> String {
    match reply {
        Reply::Join(Ok(joined)) => {
            let skip = if joined.skip_assignment { " skip_assignment" } else { "" };
            format!(
                "joined {} generation={} protocol={} leader={} members=[{}]{skip}",
                joined.member_id,
                joined.generation,
                joined.protocol.as_deref().unwrap_or("-"),
                joined.leader,
                joined.members.iter().map(show_member).collect::<Vec<String>>().join(" "),
            )
        }
        Reply::Join(Err(refused)) if refused.member_id.is_empty() => refused.error.to_string(),
        Reply::Join(Err(refused)) => format!("{} id={}", refused.error, refused.member_id),
        Reply::Sync(Ok(synced)) => format!("synced assignment={}", show_bytes(&synced.assignment)),
        Reply::Sync(Err(error)) => error.to_string(),
        Reply::Heartbeat(outcome) => show_outcome(*outcome, "alive"),
        Reply::CommitOffsets(outcome) => show_outcome(*outcome, "may commit"),
        Reply::Delete(outcome) => show_outcome(*outcome, "deleted"),
        Reply::Leave(members) => {
            let shown = members.iter().map(|(member, outcome)| {
                let instance = member.instance.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
                format!("{}{instance}={}", member.member_id, show_outcome(*outcome, "left"))
            });
            shown.collect::<Vec<String>>().join(" ")
        }
    }
}

fn show_member(member: &JoinedMember) -> String {
    let instance = member.instance.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
    format!("{}{instance}:{}", member.member_id, show_bytes(&member.metadata))
}
