//! What the compiler says of models that cannot be: one error for each field, at its place, in words of ours. What the
//! derive itself refuses has tests beside it.
//!
//! The files in `refused` are compiled against the library that this test is linked with. A line that ends with `//~ text`
//! has an error that contains the text, and no other line has one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A library of this build, and the serde that it was built with.
struct Libraries {
    directory: PathBuf,
    model: PathBuf,
    serde: PathBuf,
}

/// The libraries with which models that are as they should be compile.
fn libraries() -> &'static Libraries {
    static LIBRARIES: OnceLock<Libraries> = OnceLock::new();
    LIBRARIES.get_or_init(|| {
        let directory = std::env::current_exe().expect("this test").parent().expect("a directory").to_owned();
        let model = built(&directory, "tidegate_model").pop().expect("this test is linked with it");
        let mut said = String::new();
        // There may be several, for programs of the build and with other features.
        for serde in built(&directory, "serde").into_iter().rev() {
            let libraries = Libraries { directory: directory.clone(), model: model.clone(), serde };
            said = compile(&libraries, "good");
            if said.is_empty() {
                return libraries;
            }
        }
        panic!("models that are as they should be do not compile: {said}");
    })
}

/// The libraries of a name in a directory, the newest last.
fn built(directory: &Path, name: &str) -> Vec<PathBuf> {
    let prefix = format!("lib{name}-");
    let is_library = |path: &PathBuf| {
        let file_name = path.file_name().and_then(|file_name| file_name.to_str()).unwrap_or_default();
        file_name.starts_with(&prefix) && file_name.ends_with(".rlib")
    };
    let entries = std::fs::read_dir(directory).expect("it is there");
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.expect("an entry").path()).filter(is_library).collect();
    found.sort_by_key(|path| path.metadata().and_then(|metadata| metadata.modified()).expect("it is there"));
    found
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused").join(name).with_extension("rs")
}

/// What the compiler says of a file, a line for each error; nothing if it compiles.
fn compile(libraries: &Libraries, name: &str) -> String {
    let out = tempfile::tempdir().expect("a directory");
    let external = |name: &str, path: &Path| format!("{name}={}", path.display());
    let output = Command::new("rustc")
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--error-format=short"])
        .args(["--cap-lints=allow", "--extern", &external("tidegate_model", &libraries.model)])
        .args(["--extern", &external("serde", &libraries.serde)])
        .arg("-L")
        .arg(external("dependency", &libraries.directory))
        .arg("--out-dir")
        .arg(out.path())
        .arg(source(name))
        .output()
        .expect("whoever runs tests has a compiler");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

/// Compares what is said of a file with what it says of itself.
fn check(name: &str) {
    let said = compile(libraries(), name);
    let mut unexpected = BTreeSet::new();
    let path = source(name);
    // PATH:LINE:COLUMN: error[CODE]: MESSAGE
    for error in said.lines().filter_map(|line| line.strip_prefix(&format!("{}:", path.display()))) {
        let (line, rest) = error.split_once(':').expect("a line");
        if let Some((_, message)) = rest.split_once(" error[") {
            unexpected.insert((line.parse::<usize>().expect("a number"), message.to_owned()));
        }
    }
    let text = std::fs::read_to_string(&path).expect("it is there");
    let mut count = 0;
    for (at, line) in text.lines().enumerate() {
        let Some((_, expected)) = line.split_once("//~ ") else { continue };
        let of_line: Vec<_> = unexpected.iter().filter(|(line, _)| *line == at + 1).cloned().collect();
        let is_said = of_line.iter().any(|(_, message)| message.contains(expected));
        assert!(is_said, "line {} should have: {expected}\n{said}", at + 1);
        of_line.iter().filter(|(_, message)| message.contains(expected)).for_each(|said| {
            unexpected.remove(said);
        });
        count += 1;
    }
    assert!(count > 0, "the file says what it expects");
    assert_eq!(unexpected, BTreeSet::new(), "{said}");
}

#[test]
fn a_type_that_cannot_be_what_the_attributes_say_is_refused_at_its_field_by_what_it_cannot_be() {
    check("types");
}

#[test]
fn what_only_a_constant_can_tell_is_refused_by_table_and_field() {
    check("constants");
}
