//! Text for a terminal: what came with mail cannot move the cursor, change colours, or pass for
//! another line.

use std::fmt::Write as _;

/// Whether a character does something to the terminal or to the order of what stands round it.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// The text on one line: white space runs become one space, characters that act become `\u{fffd}`.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().map(|c| if acts(c) { '\u{fffd}' } else { c }));
    }
    out
}

/// The text with its lines and tabs; other characters that act become `\u{fffd}`.
#[must_use]
pub fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars().map(|c| if acts(c) && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// The first `characters_max` characters, the last of them an ellipsis when something is left out.
#[must_use]
pub fn cut(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(characters_max.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// So many of something: `1 mailbox`, `2 mailboxes`.
#[must_use]
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A table: columns are as wide as their widest cell, numbers stand to the right.
#[derive(Debug)]
pub struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
    sides: [Side; COLUMNS],
}

/// On which side of its column a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// As words do.
    Left,
    /// As numbers do.
    Right,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with its heading.
    #[must_use]
    pub fn new(heading: [(&str, Side); COLUMNS]) -> Table<COLUMNS> {
        let rows = vec![heading.map(|(name, _)| name.to_owned())];
        Table { rows, sides: heading.map(|(_, side)| side) }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells);
    }

    /// The lines of the table.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let width = |column: usize| {
            let widths = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            widths.max().unwrap_or_default()
        };
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        self.rows.iter().map(move |row| {
            let mut line = String::new();
            for ((cell, width), side) in row.iter().zip(widths).zip(self.sides) {
                // Writing to a String does not fail.
                let _ = match side {
                    Side::Left => write!(line, "{cell:<width$}  "),
                    Side::Right => write!(line, "{cell:>width$}  "),
                };
            }
            line.truncate(line.trim_end().len());
            line
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_mail_cannot_command_a_terminal() {
        assert_eq!(one_line("a\u{1b}[31mred\r\n\tb\u{7}"), "a\u{fffd}[31mred b\u{fffd}");
        assert_eq!(one_line("invoice\u{202e}fdp.exe"), "invoice\u{fffd}fdp.exe");
        assert_eq!(one_line("  spaced   out "), "spaced out");
        assert_eq!(one_line("c1 \u{9b}31m"), "c1 \u{fffd}31m");
        assert_eq!(lines("a\r\n\tb\u{1b}]0;x\u{7}\rc"), "a\n\tb\u{fffd}]0;x\u{fffd}\u{fffd}c");
        assert_eq!(lines("grün — ok"), "grün — ok");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(cut("grün", 4), "grün");
        assert_eq!(cut("grüner", 4), "grü…");
    }

    #[test]
    fn a_table_aligns_its_columns() {
        let mut table = Table::new([("ADDRESS", Side::Left), ("N", Side::Right), ("X", Side::Left)]);
        table.row(["a@b".into(), "12".into(), String::new()]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines, ["ADDRESS   N  X", "a@b      12"]);
    }
}
