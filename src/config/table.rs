//! The README's table of settings, written from the one that the command line is made from.

use super::settings::{SETTINGS, Setting};

fn table() -> String {
    let mut rows = String::from("| setting | variable | default | what it does |\n|---|---|---|---|\n");
    let mut heading = "";
    for setting in SETTINGS {
        if setting.heading != heading {
            heading = setting.heading;
            rows.push_str(&format!("| **{heading}** | | | |\n"));
        }
        rows.push_str(&row(setting));
    }
    rows
}

fn row(setting: &Setting) -> String {
    let Setting { key, value, default, help, secret, .. } = *setting;
    let flag = match value {
        _ if secret => format!("{key} (no flag)"),
        // As the help has it: the name alone is a yes, and a value needs its sign.
        "BOOL" => format!("`--{key}[=BOOL]`"),
        _ => format!("`--{key} {value}`"),
    };
    let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
    // A bar would end the cell.
    let cells =
        [flag, format!("`{}`", setting.variable()), default, help.to_string()].map(|cell| cell.replace('|', "\\|"));
    format!("| {} |\n", cells.join(" | "))
}

#[test]
fn the_readme_has_every_setting() {
    kiln_runtime::doc_tables::assert_table("README.md", "src/config/settings.rs", &table());
}

#[test]
fn settings_stand_together_by_their_headings() {
    let mut headings: Vec<&str> = SETTINGS.iter().map(|setting| setting.heading).collect();
    headings.dedup();
    let count = headings.len();
    headings.sort_unstable();
    headings.dedup();
    assert_eq!(headings.len(), count, "a heading comes twice");
}
