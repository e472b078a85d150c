//! A backup that is read from a file or from standard input.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tidegate_backup::{Decoder, FileError, Header, Part, Summary};

/// How much is read at a time.
const READ_BYTES: usize = 1 << 20;

/// What is being read.
pub(super) struct Input {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    len: Option<u64>,
    buffer: Vec<u8>,
    decoder: Decoder,
}

impl Input {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let (reader, len): (Box<dyn Read + Send>, _) = if path.as_os_str() == "-" {
            (Box::new(std::io::stdin()), None)
        } else {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            let metadata = file.metadata().with_context(|| path.display().to_string())?;
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        };
        let decoder = Decoder::new();
        Ok(Self { path: path.to_owned(), reader, len, buffer: vec![0; READ_BYTES], decoder })
    }

    /// The first part.
    pub(super) fn header(&mut self) -> anyhow::Result<Header> {
        match self.next_part()? {
            Some(Part::Header(header)) => Ok(header),
            Some(_) => unreachable!("the first part is the header"),
            None => Err(FileError::CutOff { offset: self.offset() }).with_context(|| self.name()),
        }
    }

    /// The next part; none at the end of the file.
    pub(super) fn next_part(&mut self) -> anyhow::Result<Option<Part>> {
        loop {
            if let Some(part) = self.decoder.next_part().with_context(|| self.path.display().to_string())? {
                return Ok(Some(part));
            }
            let read = match self.reader.read(&mut self.buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.with_context(|| self.name())?,
            };
            if read == 0 {
                return Ok(None);
            }
            self.decoder.feed(&self.buffer[..read]);
        }
    }

    /// What the whole file was.
    pub(super) fn finish(self) -> anyhow::Result<Summary> {
        let name = self.name();
        self.decoder.finish().context(name)
    }

    /// How many bytes were taken so far.
    pub(super) fn offset(&self) -> u64 {
        self.decoder.offset()
    }

    /// How many there are, if that is known.
    pub(super) fn len(&self) -> Option<u64> {
        self.len
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}
