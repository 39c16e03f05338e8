//! The page about the architecture says what the rules say.

use super::rules::{OWNERS, allowed};

const PAGE: &str = "docs/architecture.md";

/// `a`, `b`
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_page_has_every_room_with_its_rules() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    for (room, imports) in allowed() {
        let owned = OWNERS.iter().filter(|(_, rooms)| rooms.contains(&room)).map(|(name, _)| *name);
        let (begin, end) =
            (format!("| `{room}` | "), format!(" | {} | {} |", listed(imports.iter().copied()), listed(owned)));
        let row = page.lines().find(|line| line.starts_with(&begin));
        let row = row.unwrap_or_else(|| panic!("{PAGE} has no row that begins with {begin:?}"));
        assert!(row.ends_with(&end), "{PAGE}: the row of '{room}' has to end with\n{end}");
        assert!(row.len() > begin.len() + end.len(), "{PAGE}: nothing says what '{room}' is for");
    }
}

#[test]
fn the_page_has_no_room_that_is_gone() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let table = page.split("| room | ").nth(1).expect("the page has a table of rooms");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|')).count();
    assert_eq!(rows, allowed().len(), "{PAGE} has rows of rooms that the rules do not know");
}

#[test]
fn what_the_page_names_is_there() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let mut found = 0;
    for name in page.split('`').skip(1).step_by(2).filter(|name| name.contains('/') && !name.contains(' ')) {
        found += 1;
        assert!(std::path::Path::new(name).exists(), "{PAGE} names {name}, which is not there");
    }
    assert!(found > 10, "the files were not found");
}
