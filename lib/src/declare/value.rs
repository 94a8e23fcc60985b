//! Values of quadlet keys: quotes, systemd specifiers, booleans.

/// Expands a scalar value as systemd would, as far as that is the same on every host.
///
/// One pair of double quotes around the whole value is dropped, as quadlet does. `%%` is `%`
/// and `$$` is `$`; any other specifier or variable depends on the host that starts the
/// unit, so it is refused, with a reason.
pub(super) fn expand(value: &str) -> Result<String, String> {
    let unquoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(value);
    let mut expanded = String::with_capacity(unquoted.len());
    let mut characters = unquoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' => match characters.next() {
                Some('%') => expanded.push('%'),
                Some(letter) => {
                    return Err(format!(
                        "systemd specifier %{letter} in {unquoted:?} is not supported; \
                         a bound image is the same on every host (write %% for a percent sign)"
                    ));
                }
                None => {
                    return Err(format!(
                        "{unquoted:?} ends in a lone %; write %% for a percent sign"
                    ));
                }
            },
            '$' => match characters.next() {
                Some('$') => expanded.push('$'),
                _ => {
                    return Err(format!(
                        "environment variable in {unquoted:?} is not supported; \
                         write $$ for a dollar sign"
                    ));
                }
            },
            other => expanded.push(other),
        }
    }
    Ok(expanded)
}

/// Reads a boolean.
///
/// Podman takes everything that is not true for false. For a key that turns a check off
/// that is no reading to copy, so what is neither is refused, with a reason.
pub(super) fn boolean(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err(format!("{value:?} is no boolean; write true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_and_dollar_stand_for_themselves_only_when_doubled() {
        for (value, want) in [
            ("plain", Some("plain")),
            ("a%%b", Some("a%b")),
            ("%%%%", Some("%%")),
            ("a$$b", Some("a$b")),
            ("\"quoted\"", Some("quoted")),
            ("\"half", Some("\"half")),
            ("\"", Some("\"")),
            ("a%i", None),
            ("%%%i", None),
            ("a%", None),
            ("a$HOME", None),
            ("a${X}", None),
            ("a$", None),
        ] {
            assert_eq!(expand(value).ok().as_deref(), want, "{value:?}");
        }
    }

    #[test]
    fn what_is_no_boolean_never_turns_a_check_off() {
        for (value, want) in [
            ("true", Some(true)),
            ("Yes", Some(true)),
            ("1", Some(true)),
            ("on", Some(true)),
            ("FALSE", Some(false)),
            ("0", Some(false)),
            ("maybe", None),
            ("y", None),
        ] {
            assert_eq!(boolean(value).ok(), want, "{value:?}");
        }
    }
}
