//! Budgets: what does not fit on a page is not read.

use super::files::File;
use super::text;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_COLUMNS_MAX: usize = 110;

/// Everything in `file` that is over its budget.
pub(crate) fn check(file: &File) -> Vec<String> {
    let path = &file.path;
    let mut findings = Vec::new();
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(format!("{path} has {lines} lines, {FILE_LINES_MAX} are allowed"));
    }
    for (at, line) in file.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX {
            findings.push(format!("{path}:{} has {columns} columns, {LINE_COLUMNS_MAX} are allowed", at + 1));
        }
    }
    for function in text::functions(&text::masked(&file.text)) {
        let lines = function.last - function.first + 1;
        if lines > FUNCTION_LINES_MAX {
            let text::Function { name, first, .. } = function;
            findings
                .push(format!("{path}:{first}: {name} has {lines} lines, {FUNCTION_LINES_MAX} are allowed"));
        }
    }
    findings
}
