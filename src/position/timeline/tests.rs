use super::*;

const ID: &str = "8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb";

#[test]
fn an_id_is_shown_as_it_was_read() {
    let timeline = Timeline::parse(ID.as_bytes()).unwrap();
    assert_eq!(timeline.to_string(), ID);
    assert_eq!(format!("{timeline:?}"), ID);
}

#[test]
fn only_forty_lower_case_digits_are_an_id() {
    for id in [
        "",
        &ID[..39],
        &ID[..38],
        &format!("{ID}0"),
        &format!("{ID}00"),
        &ID.to_uppercase(),
        &ID.replace('8', "g"),
        &ID.replace('8', " "),
        &"0".repeat(40),
    ] {
        assert_eq!(Timeline::parse(id.as_bytes()), None, "{id:?}");
    }
}
