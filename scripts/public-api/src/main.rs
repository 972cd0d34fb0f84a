//! Prints the public API that a file of rustdoc's JSON describes, a line for each item.

use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    let json = env::args().nth(1).ok_or("usage: public-api-listing FILE")?;
    let api = public_api::Builder::from_rustdoc_json(json)
        // Blanket implementations follow from the rest. That the guards are `Send` and the like has tests.
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()?;
    println!("{api}");
    Ok(())
}
