//! The worked example of docs/explain.md is what the command prints.

use crate::{example, folder, read, render};

#[test]
fn the_worked_example_is_what_is_printed() {
    let page = std::fs::read_to_string(folder("docs/explain.md")).expect("docs/explain.md");
    let printed = render(&read(&example()).explain(), 3);
    // The space at the end of a message would not outlive the next editor that the page is opened with.
    let printed: String = printed.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    assert!(page.contains(&format!("```\n{printed}```\n")), "docs/explain.md should show:\n{printed}");
}
