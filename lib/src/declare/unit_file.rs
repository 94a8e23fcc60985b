//! The syntax of unit files as podman's quadlet generator reads them, with line numbers.
//!
//! Follows `pkg/systemd/parser/unitfile.go` of podman, which decides what a quadlet means:
//! lines are trimmed, a trailing backslash joins the next line with nothing between, comments
//! and blank lines inside a continued line are skipped. `#` inside a value belongs to it.

/// A parsed unit file: its assignments in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct UnitFile {
    entries: Vec<Entry>,
}

/// One `key=value`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    section: String,
    key: String,
    /// The value without surrounding blanks; continuation lines joined.
    pub(super) value: String,
    /// The line on which the key stands, counted from 1.
    pub(super) line: u32,
}

/// A line that is no unit-file syntax.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxFault {
    pub(super) line: u32,
    pub(super) problem: String,
}

/// Parses a whole file; returns all of its faults when it has any.
pub(super) fn parse(text: &str) -> Result<UnitFile, Vec<SyntaxFault>> {
    let mut unit = UnitFile::default();
    let mut faults = Vec::new();
    let mut section: Option<String> = None;
    for (line, content) in logical_lines(text) {
        match statement(&content) {
            Statement::Section(name) => section = Some(name.to_owned()),
            Statement::Assignment(key, value) => match &section {
                Some(section) => unit.entries.push(Entry {
                    section: section.clone(),
                    key: key.to_owned(),
                    value: value.to_owned(),
                    line,
                }),
                None => faults.push(SyntaxFault {
                    line,
                    problem: format!("{key}= stands before the first [section]"),
                }),
            },
            Statement::Unknown => faults.push(SyntaxFault {
                line,
                problem: format!(
                    "{:?} is neither a [section], a key=value nor a comment",
                    abbreviated(&content)
                ),
            }),
        }
    }
    if faults.is_empty() {
        Ok(unit)
    } else {
        Err(faults)
    }
}

impl UnitFile {
    /// The last assignment of a key, the one that counts.
    pub(super) fn last(&self, section: &str, key: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .rev()
            .find(|entry| entry.section == section && entry.key == key)
    }
}

enum Statement<'a> {
    Section(&'a str),
    Assignment(&'a str, &'a str),
    Unknown,
}

fn statement(content: &str) -> Statement<'_> {
    if let Some(rest) = content.strip_prefix('[') {
        return match rest.strip_suffix(']') {
            Some(name) if !name.is_empty() && !name.contains(['[', ']']) => {
                Statement::Section(name)
            }
            _ => Statement::Unknown,
        };
    }
    match content.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Statement::Assignment(key.trim_end(), value.trim())
        }
        _ => Statement::Unknown,
    }
}

/// Lines with continuations joined, comments and blanks dropped; each with its first line number.
fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let mut lines = Vec::new();
    let mut continued: Option<(u32, String)> = None;
    for (number, physical) in (1u32..).zip(text.lines()) {
        let content = physical.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        let (first, mut joined) = continued.take().unwrap_or((number, String::new()));
        if let Some(head) = content.strip_suffix('\\') {
            joined.push_str(head);
            continued = Some((first, joined));
        } else {
            joined.push_str(content);
            lines.push((first, joined));
        }
    }
    // Podman drops a key whose continuation runs into the end of the file only after a
    // comment; keeping it always lets the reader see what was meant.
    lines.extend(continued);
    lines
}

fn abbreviated(content: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    if content.chars().count() <= SHOWN_CHARS {
        return content.to_owned();
    }
    content.chars().take(SHOWN_CHARS).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(text: &str, key: &str) -> Option<(String, u32)> {
        let unit = parse(text).expect(text);
        let entry = unit.last("Image", key)?;
        Some((entry.value.clone(), entry.line))
    }

    #[test]
    fn values_are_read_as_podman_reads_them() {
        for (text, want) in [
            ("[Image]\nImage=a", Some(("a", 2))),
            ("[Image]\n  Image  =  a b  ", Some(("a b", 2))),
            ("[Image]\r\nImage=a\r\n", Some(("a", 2))),
            (
                "[Image]\nImage=a\n[X]\nImage=b\n[Image]\nImage=c",
                Some(("c", 6)),
            ),
            ("[Image]\nImage=a\nImage=", Some(("", 3))),
            ("[Image]\nImage=a#b", Some(("a#b", 2))),
            ("[Image]\n# c\n; c\n\nImage=a", Some(("a", 5))),
            ("[Image]\nImage=a\\\n  b", Some(("ab", 2))),
            ("[Image]\nImage=a\\\n# c\n\nb", Some(("ab", 2))),
            ("[Image]\nImage=a\\  \nb", Some(("ab", 2))),
            ("[Image]\nImage=a\\", Some(("a", 2))),
            ("[Image]\nimage=a", None),
            ("[Container]\nImage=a", None),
            ("", None),
        ] {
            let want = want.map(|(value, line)| (value.to_owned(), line));
            assert_eq!(last(text, "Image"), want, "{text:?}");
        }
    }

    #[test]
    fn a_continued_value_takes_lines_without_an_equals_sign() {
        let text = "[Image]\nExec=sh -c \"one \\\n  two \\\n  three\"\nImage=a";
        assert_eq!(
            last(text, "Exec"),
            Some(("sh -c \"one two three\"".into(), 2))
        );
        assert_eq!(last(text, "Image"), Some(("a".into(), 5)));
    }

    #[test]
    fn every_faulty_line_is_named() {
        let faults = parse("Image=a\n[Image\nno assignment\n[Image] # c\n=x\n").unwrap_err();
        let lines: Vec<u32> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5]);
        assert_eq!(
            faults[0].problem,
            "Image= stands before the first [section]"
        );
        assert_eq!(
            faults[2].problem,
            "\"no assignment\" is neither a [section], a key=value nor a comment"
        );
    }
}
