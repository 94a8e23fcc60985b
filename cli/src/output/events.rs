//! Events as JSON lines, for the program that started this one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use bound_images_lib::model::Event;
use rustix::fs::OFlags;

/// The bits of a descriptor's flags that say whether it can be read or written.
const ACCESS_MODE: u32 = 0o3;

/// A pipe or a file that takes events.
pub(super) struct EventLines {
    file: File,
    /// The rest of a line, of which a full pipe took only the beginning.
    rest: Vec<u8>,
}

impl EventLines {
    /// Opens the descriptor with this number; says what is wrong with it otherwise.
    ///
    /// It is opened anew, so that not waiting for a reader holds here alone and not for whoever
    /// shares the descriptor. A socket cannot be opened anew.
    pub(super) fn open(number: u32) -> Result<Self, String> {
        let wrong = |problem: String| format!("--progress-fd {number}: {problem}");
        let flags = fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
        let flags = flags.map_err(|_| wrong("no such descriptor is open".to_owned()))?;
        let path = format!("/proc/self/fd/{number}");
        let metadata = fs::metadata(&path).map_err(|error| wrong(error.to_string()))?;
        if metadata.file_type().is_socket() {
            return Err(wrong(
                "it is a socket and must be a pipe or a file".to_owned(),
            ));
        }
        if !is_writable(&flags) {
            return Err(wrong("it is not open for writing".to_owned()));
        }
        let without_waiting = OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new()
            .append(true)
            .custom_flags(without_waiting.bits().cast_signed())
            .open(&path);
        match file {
            Ok(file) => Ok(Self {
                file,
                rest: Vec::new(),
            }),
            Err(error) => Err(wrong(format!(
                "it cannot be written, since it must be a pipe or a file: {error}"
            ))),
        }
    }

    /// Writes an event. One for which a pipe has no room is dropped: a reader that stops reading
    /// must not stop the run.
    pub(super) fn send(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.write_rest()?;
        if !self.rest.is_empty() {
            return Ok(());
        }
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let length = line.len();
        self.rest = line;
        self.write_rest()?;
        if self.rest.len() == length {
            self.rest.clear();
        }
        Ok(())
    }

    fn write_rest(&mut self) -> io::Result<()> {
        while !self.rest.is_empty() {
            match self.file.write(&self.rest) {
                Ok(written) => drop(self.rest.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Reads the flags of `/proc/PID/fdinfo/N`, see proc_pid_fdinfo(5): opening anew would succeed
/// where the caller has opened a file only to read it.
fn is_writable(fdinfo: &str) -> bool {
    let flags = fdinfo.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & ACCESS_MODE != 0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn open(fd: &impl AsRawFd) -> Result<EventLines, String> {
        let number = fd.as_raw_fd();
        let opened = EventLines::open(number.cast_unsigned());
        opened.map_err(|problem| problem.replace(&format!("--progress-fd {number}: "), ""))
    }

    #[test]
    fn only_a_pipe_or_a_file_that_is_open_for_writing_will_do() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let file = rustix::fs::memfd_create("events", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let source = File::open("Cargo.toml").unwrap();
        for (opened, want) in [
            (open(&writer), None),
            (open(&file), None),
            (
                open(&socket),
                Some("it is a socket and must be a pipe or a file"),
            ),
            (open(&reader), Some("it is not open for writing")),
            (open(&source), Some("it is not open for writing")),
        ] {
            assert_eq!(opened.err().as_deref(), want);
        }
        let never_open = EventLines::open(1_000_000).err();
        let want = "--progress-fd 1000000: no such descriptor is open";
        assert_eq!(never_open.as_deref(), Some(want));
    }

    #[test]
    fn a_reader_that_stops_reading_loses_whole_events_and_holds_nothing_up() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut events = open(&writer).unwrap();
        let holder = "x".repeat(5000);
        for _ in 0..100 {
            events.send(&Event::Waiting { holder: &holder }).unwrap();
        }
        let mut early = vec![0; 30_000];
        reader.read_exact(&mut early).unwrap();
        events.send(&Event::Flushing).unwrap();
        drop(events);
        drop(OwnedFd::from(writer));
        let mut text = String::from_utf8(early).unwrap();
        reader.read_to_string(&mut text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!((8..20).contains(&lines.len()), "{}", lines.len());
        for line in &lines {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        assert_eq!(lines.last(), Some(&"{\"event\":\"flushing\"}"));
    }
}
