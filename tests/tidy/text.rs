//! Rust as a text: enough of it to tell code from comments and literals, and to find functions.

/// The code with every comment, string and character blanked out; line ends and columns stay.
pub(crate) fn masked(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = blank_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment or literal that starts at `at` ends; `at` when none starts there.
fn blank_end(chars: &[char], at: usize) -> usize {
    let next = |n: usize| chars.get(at + n).copied();
    let inner = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match (chars[at], next(1)) {
        ('/', Some('/')) => find(chars, at, &['\n']),
        ('/', Some('*')) => block_comment_end(chars, at),
        ('"', _) => string_end(chars, at + 1),
        ('r', Some('"' | '#')) if !inner => raw_string_end(chars, at + 1).unwrap_or(at),
        ('b', Some('r')) if !inner => raw_string_end(chars, at + 2).unwrap_or(at),
        // A lifetime has no closing quote; a character is one of these two forms.
        ('\'', Some('\\')) => find(chars, at + 3, &['\'']) + 1,
        ('\'', Some(_)) if next(2) == Some('\'') => at + 3,
        _ => at,
    }
}

fn find(chars: &[char], from: usize, wanted: &[char]) -> usize {
    (from..chars.len()).find(|&at| chars[at..].starts_with(wanted)).unwrap_or(chars.len())
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn raw_string_end(chars: &[char], from: usize) -> Option<usize> {
    let hashes = chars[from..].iter().take_while(|&&c| c == '#').count();
    if chars.get(from + hashes) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    Some((find(chars, from + hashes + 1, &close) + close.len()).min(chars.len()))
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut at = at;
    while at < chars.len() {
        if chars[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if chars[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// Masked code without its `#[cfg(test)]` items.
pub(crate) fn without_tests(masked: &str) -> String {
    let mut kept = String::new();
    let mut rest = masked;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let item = &rest[at..];
        let brace = item.find('{').unwrap_or(item.len());
        let end = match item.find(';') {
            Some(semicolon) if semicolon < brace => semicolon + 1,
            _ => closing(item, brace),
        };
        rest = &item[end..];
    }
    kept.push_str(rest);
    kept
}

/// One past the brace that closes the one at `open`.
fn closing(masked: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in masked[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return open + at + 1;
        }
    }
    masked.len()
}

/// A function: its name, its first and its last line, counted from 1.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// Every function with a body, in order of its first line.
pub(crate) fn functions(masked: &str) -> Vec<Function> {
    let line_of = |at: usize| masked[..at].matches('\n').count() + 1;
    let mut found = Vec::new();
    for (at, _) in masked.match_indices("fn ") {
        let starts_word = masked[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let rest = &masked[at + 3..];
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !starts_word || name.is_empty() {
            continue;
        }
        let Some(open) = body_start(rest) else { continue };
        let end = closing(masked, at + 3 + open);
        found.push(Function { name, first: line_of(at), last: line_of(end) });
    }
    found
}

/// The brace that opens the body; a declaration has a semicolon instead. Array types hold
/// semicolons too, but in brackets.
fn body_start(signature: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in signature.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return None,
            '{' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}
