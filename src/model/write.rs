//! Writing a row: the row, its keys and its events, after everything that forbids it was looked at.

use bytes::Bytes;
use tidegate_format::{EventTypeKey, TopicKey, check_event_type, check_topic_name};
use tidegate_store::{Store, Txn};

use crate::entries::{Entries, left_behind, listed_in};
use crate::event::Subject;
use crate::row::{self, Place};
use crate::tx::{Open, Tx};
use crate::{Error, Model, NewEvent, Stamp, Write, WriteOptions};

/// What a row must be before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Absent,
    Present,
    Either,
}

/// A row with the keys that its manifest lists.
struct Found {
    row: Bytes,
    keys: Vec<Bytes>,
}

/// The row at a place, if there is one. The values of `keep` come in the same round, for later.
async fn found_at<S: Store>(
    open: &mut Open<S>,
    place: &Place,
    keep: impl IntoIterator<Item = Bytes>,
) -> Result<Option<Found>, Error> {
    let keys = vec![place.row_key.clone(), place.manifest_key.clone()];
    let found = open.txn.fetch(keys, keep).await?;
    let [row, manifest] = <[_; 2]>::try_from(found).expect("as many values as keys");
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Found { row, keys: listed_in(manifest)? }))
}

impl<S: Store> Tx<S> {
    /// Writes a row. Nothing is written if it is refused, unless one of its events was refused after another.
    pub(crate) async fn write_row<M: Model>(
        &self,
        open: &mut Open<S>,
        model: &M,
        before: Before,
        options: &WriteOptions,
    ) -> Result<Write, Error> {
        let place = Place::of::<M>(model.id())?;
        let definition = self.shared().definition::<M>();
        let was_half_written = open.is_half_written;
        let now_ms = open.now_ms;
        let stored = model.stored(&Stamp { now_ms, before: None, is_trial: false });
        let as_new = stored.as_ref().unwrap_or(model);
        let entries = Entries::of(as_new, &place)?;
        let mut on_insert = vec![];
        let mut on_update = vec![];
        if before != Before::Present {
            on_insert = options.events(|| as_new.events(Write::Insert));
        }
        if before != Before::Absent {
            on_update = options.events(|| as_new.events(Write::Update));
        }

        let keys = vec![place.row_key.clone(), place.manifest_key.clone()];
        let catalogue = catalogue_keys(on_insert.iter().chain(&on_update), M::TABLE);
        let keep = entries.rows_to_check().chain(catalogue).chain([definition.key.clone()]);
        let mut found = open.txn.fetch(keys, keep).await?.into_iter();
        let old = found.next().flatten();
        let mut listed = listed_in(found.next().flatten())?;
        // There is no row that it could be the manifest of.
        let mut orphans = if old.is_none() { std::mem::take(&mut listed) } else { vec![] };
        match (before, old.is_some()) {
            (Before::Absent, true) => return Err(Error::Exists { table: M::TABLE, id: place.id }),
            (Before::Present, false) => return Err(Error::Missing { table: M::TABLE, id: place.id }),
            _ => {}
        }

        let skips_unchanged = options.skips_unchanged::<M>();
        let write = if old.is_some() { Write::Update } else { Write::Insert };
        let old_model: Option<M> = match &old {
            Some(old) if M::TIMES => Some(row::decode_row(old.clone(), &place.id)?),
            _ => None,
        };
        let (stored, entries, events) = match &old_model {
            Some(_) => {
                let stored = model.stored(&Stamp { now_ms, before: old_model.as_ref(), is_trial: false });
                let row = stored.as_ref().unwrap_or(model);
                let entries = Entries::of(row, &place)?;
                // Those from before the row was read were only good for knowing where they may go.
                let events = options.events(|| row.events(write));
                (stored, entries, events)
            }
            None => {
                let events = if write == Write::Insert { on_insert } else { on_update };
                (stored, entries, events)
            }
        };
        let row = stored.as_ref().unwrap_or(model);
        let old_body = match &old {
            Some(old) if skips_unchanged || options.needs_images(&events) => {
                Some(row::body_of::<M>(old.clone(), &place.id)?)
            }
            _ => None,
        };
        let body = self.encode(row, &place)?;
        if skips_unchanged {
            let unchanged = match &old_model {
                // As if the time of the write were no change.
                Some(_) => {
                    let stamp = Stamp { now_ms, before: old_model.as_ref(), is_trial: true };
                    self.encode(model.stored(&stamp).as_ref().unwrap_or(model), &place)?
                }
                None => body.clone(),
            };
            if is_same(old_body.as_ref(), &unchanged) {
                return Ok(write);
            }
        }
        entries.check::<M, _>(&mut open.txn, &place, &listed).await?;
        if !orphans.is_empty() {
            orphans = left_behind(&mut open.txn, &place, orphans).await?;
        }
        let list = definition.after_write(&mut open.txn).await?;

        let subject = Subject {
            table: M::TABLE,
            id: place.id.to_string(),
            body: Some(&body),
            before: old_body.as_ref(),
        };
        self.publish_all(open, options.with_metadata(events), &subject).await?;
        open.txn.growing();
        orphans.into_iter().for_each(|key| open.txn.delete(key));
        open.txn.put(place.row_key.clone(), row::encode_row::<M>(body));
        entries.put(&mut open.txn, &place, &listed);
        if let Some(list) = list {
            open.txn.put(definition.key.clone(), list);
        }
        open.is_half_written = was_half_written;
        Ok(write)
    }

    /// A row as JSON, within the limit.
    fn encode<M: Model>(&self, row: &M, place: &Place) -> Result<Bytes, Error> {
        Ok(row::encode_body(row, &place.id, self.shared().settings.model_max_bytes)?)
    }

    pub(crate) async fn read_row<M: Model>(
        &self,
        open: &mut Open<S>,
        place: &Place,
    ) -> Result<Option<M>, Error> {
        let row = open.txn.get(&place.row_key).await?;
        row.map(|row| row::decode_row(row, &place.id)).transpose()
    }

    /// Deletes a row and lets go what names it; none if there is no row. Nothing is written if a row forbids it.
    pub(crate) async fn delete_row<M: Model>(
        &self,
        open: &mut Open<S>,
        place: &Place,
        options: &WriteOptions,
    ) -> Result<Option<M>, Error> {
        let definition = self.shared().definition::<M>();
        let Some(row) = found_at(open, place, definition.child_keys()).await? else { return Ok(None) };
        let was_half_written = open.is_half_written;
        let steps = self.plan_deletion::<M>(open, place).await?;
        let model = self.delete_found(open, place, row, options).await?;
        for step in steps {
            open.is_half_written = true;
            step.run(self, open).await?;
        }
        open.is_half_written = was_half_written;
        Ok(Some(model))
    }

    /// Deletes a row that goes with another; nothing if there is no row.
    pub(crate) async fn delete_along<M: Model>(
        &self,
        open: &mut Open<S>,
        place: &Place,
    ) -> Result<(), Error> {
        if let Some(row) = found_at(open, place, []).await? {
            self.delete_found::<M>(open, place, row, &WriteOptions::default()).await?;
        }
        Ok(())
    }

    /// Deletes a row as it was found, whatever names it. Until that is let go, the transaction may be half written.
    async fn delete_found<M: Model>(
        &self,
        open: &mut Open<S>,
        place: &Place,
        Found { row, keys }: Found,
        options: &WriteOptions,
    ) -> Result<M, Error> {
        let model: M = row::decode_row(row.clone(), &place.id)?;
        let events = options.events(|| model.events(Write::Delete));
        let before =
            if options.needs_images(&events) { Some(row::body_of::<M>(row, &place.id)?) } else { None };
        open.txn.fetch(vec![], catalogue_keys(&events, M::TABLE)).await?;
        let subject =
            Subject { table: M::TABLE, id: place.id.to_string(), body: None, before: before.as_ref() };
        self.publish_all(open, options.with_metadata(events), &subject).await?;
        open.txn.delete(place.row_key.clone());
        if !keys.is_empty() {
            keys.into_iter().for_each(|key| open.txn.delete(key));
            open.txn.delete(place.manifest_key.clone());
        }
        Ok(model)
    }

    /// Publishes the events of a row that is about to be written. If one is refused (or the call is dropped) those
    /// before it are written already, and the transaction cannot be committed any more.
    async fn publish_all(
        &self,
        open: &mut Open<S>,
        events: Vec<NewEvent>,
        subject: &Subject<'_>,
    ) -> Result<(), Error> {
        for event in events {
            self.publish_one(open, event, Some(subject)).await?;
            open.is_half_written = true;
        }
        Ok(())
    }
}

/// Whether two rows are the same, whatever the order in which a map of theirs was written.
fn is_same(old: Option<&Bytes>, new: &Bytes) -> bool {
    let Some(old) = old else { return false };
    old == new
        || (old.len() == new.len() && whole_value(old).is_some_and(|old| whole_value(new) == Some(old)))
}

/// A row as a JSON value, whose maps have their own order. None if it would lose something: a whole number of more than 64
/// bits becomes a float.
fn whole_value(body: &Bytes) -> Option<serde_json::Value> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let (mut kept, mut all) = (value.to_string().into_bytes(), body.to_vec());
    kept.sort_unstable();
    all.sort_unstable();
    (kept == all).then_some(value)
}

/// The rows that publishing these events of a table's rows will look at, as far as they are known beforehand.
pub(crate) fn catalogue_keys<'a>(
    events: impl IntoIterator<Item = &'a NewEvent>,
    table: &'static str,
) -> Vec<Bytes> {
    let destinations = events.into_iter().map(|event| event.destination(Some(table)));
    destinations.flat_map(|(event_type, topic)| destination_keys(event_type, topic)).collect()
}

pub(crate) fn destination_keys(event_type: &str, topic: &str) -> Vec<Bytes> {
    let mut keys = Vec::with_capacity(2);
    if check_event_type(event_type).is_ok() {
        keys.push(EventTypeKey { name: event_type.to_owned() }.encode());
    }
    if check_topic_name(topic).is_ok() {
        keys.push(TopicKey { name: topic.to_owned() }.encode());
    }
    keys
}
