//! Puts tables into a page between `<!-- name -->` and `<!-- /name -->`; the words around them are
//! written by hand.

use std::{fs, path::PathBuf};

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/growth.md")
}

pub(crate) fn write(parts: &[(&str, String)]) {
    let path = path();
    let mut page = fs::read_to_string(&path).expect("docs/growth.md is there");
    for (name, text) in parts {
        page = replace(&page, name, text)
            .unwrap_or_else(|| panic!("docs/growth.md has no place for `{name}`"));
    }
    fs::write(&path, page).expect("docs/growth.md can be written");
    println!("wrote {}", path.display());
}

fn replace(page: &str, name: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(&format!("<!-- {name} -->\n"))?;
    let (_, after) = rest.split_once(&format!("<!-- /{name} -->\n"))?;
    Some(format!(
        "{before}<!-- {name} -->\n{}\n<!-- /{name} -->\n{after}",
        text.trim_end()
    ))
}
