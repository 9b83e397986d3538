//! The line of a manual page that shows how a command is written. That of the library leaves out the values
//! of options, and that an argument may be given more than once.

use clap::{Arg, Command};
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

/// The section.
pub(super) fn section(command: &Command) -> Roff {
    let mut words = vec![bold(command.get_bin_name().unwrap_or(command.get_name()))];
    let groups: Vec<Vec<&Arg>> = command
        .get_groups()
        .filter(|group| group.is_required_set())
        .map(|group| {
            command.get_arguments().filter(|arg| group.get_args().any(|id| id == arg.get_id())).collect()
        })
        .collect();
    let is_grouped = |arg: &Arg| groups.iter().flatten().any(|other| other.get_id() == arg.get_id());
    // Every command has help; it is told among the options.
    let is_told = |arg: &&Arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str());
    for arg in command.get_arguments().filter(is_told).filter(|arg| !arg.is_positional() && !is_grouped(arg))
    {
        words.extend(optional(arg.is_required_set(), written(arg)));
    }
    for group in &groups {
        words.push(roman(" {"));
        for (place, arg) in group.iter().enumerate() {
            words.extend((place > 0).then(|| roman(" | ")));
            words.extend(written(arg));
        }
        words.push(roman("}"));
    }
    for arg in command.get_positionals().filter(is_told) {
        words.extend(optional(arg.is_required_set(), written(arg)));
    }
    if command.has_subcommands() {
        words.extend([roman(" "), italic("COMMAND")]);
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text(words);
    roff
}

fn optional(is_required: bool, words: Vec<Inline>) -> Vec<Inline> {
    if is_required {
        return [vec![roman(" ")], words].concat();
    }
    [vec![roman(" [")], words, vec![roman("]")]].concat()
}

/// An option with its value, or the value alone where it has no name.
fn written(arg: &Arg) -> Vec<Inline> {
    let mut words: Vec<Inline> = arg.get_long().map(|long| bold(format!("--{long}"))).into_iter().collect();
    if arg.is_positional() || arg.get_action().takes_values() {
        let names = arg.get_value_names().unwrap_or_default();
        let value = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
        words.extend((!words.is_empty()).then(|| roman(" ")));
        words.push(italic(value));
        let may_be_many = arg.get_num_args().is_some_and(|values| values.max_values() > 1);
        words.extend(may_be_many.then(|| roman("...")));
    }
    words
}
