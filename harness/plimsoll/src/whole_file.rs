//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that takes its name only when it is flushed: until then it lies beside it under another.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    partial: PathBuf,
    writer: BufWriter<File>,
    changed: bool,
}

impl WholeFile {
    /// Begins a file.
    ///
    /// # Errors
    /// When it can not be made there.
    pub fn create(path: &Path) -> io::Result<Self> {
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
        let partial =
            path.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
        let writer = BufWriter::new(File::create(&partial)?);
        Ok(Self { path: path.to_owned(), partial, writer, changed: false })
    }

    /// Writes a file in one go.
    ///
    /// # Errors
    /// When it can not be written.
    pub fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
        let mut file = Self::create(path)?;
        file.write_all(contents)?;
        file.flush()
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.changed = true;
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()?;
        if std::mem::take(&mut self.changed) {
            fs::rename(&self.partial, &self.path)?;
        }
        Ok(())
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        // There is nothing under that name once the file is whole.
        let _ = fs::remove_file(&self.partial);
    }
}
