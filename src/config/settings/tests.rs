use super::*;

/// What users read.
const PAGE: &str = include_str!("../../../docs/configuration.md");

/// The rows of its tables whose first cell is a setting: the setting, and its default where that is what
/// one would write.
fn rows() -> Vec<(&'static str, Option<&'static str>)> {
    let code = |cell: &'static str| cell.trim().strip_prefix('`')?.split('`').next();
    let row = |line: &'static str| {
        let mut cells = line.strip_prefix('|')?.split('|');
        let (setting, default) = (code(cells.next()?)?, code(cells.next()?));
        knows(setting).then_some((setting, default))
    };
    let (_, tables) = PAGE.split_once("\n## All settings").expect("the heading");
    let (tables, _) = tables.split_once("\n## Secrets").expect("the heading");
    tables.lines().filter_map(row).collect()
}

#[test]
fn every_setting_is_documented_once() {
    let documented = rows();
    for name in NAMES {
        let times = documented.iter().filter(|row| row.0 == *name).count();
        assert_eq!(times, 1, "rows for `{name}` in docs/configuration.md");
    }
    assert_eq!(documented.len(), NAMES.len(), "{documented:?}");
}

#[test]
fn the_defaults_on_the_page_are_the_defaults() {
    let default = format!("{:?}", Config::new(["a"], "b"));
    let mut checked = 0;
    for (name, value) in rows() {
        let Some(value) = value else { continue };
        let mut draft = Draft::of(Config::new(["a"], "b"));
        let result = set(&mut draft, name, Value::text_of(value));
        assert!(result.is_ok(), "`{name}` does not take `{value}`");
        assert_eq!(format!("{:?}", draft.config), default, "{name}");
        checked += 1;
    }
    assert!(checked >= 25, "{checked}");
}
