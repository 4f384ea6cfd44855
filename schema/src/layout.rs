//! JSON text with other spaces: in one line for the log, over many for a person. Names stay in their order, and numbers in
//! their form; the text is JSON already.

/// In one line, without spaces between the signs.
pub(crate) fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    each_sign(text, |sign, is_in_text| {
        if is_in_text || !sign.is_ascii_whitespace() {
            out.push(sign);
        }
    });
    out
}

/// With a line for each member and item, two spaces deep.
pub(crate) fn spread(text: &str) -> String {
    let compact = compact(text);
    let mut out = String::with_capacity(2 * compact.len());
    let mut depth = 0;
    let mut before = ' ';
    each_sign(&compact, |sign, is_in_text| {
        let is_empty = matches!((before, sign), ('{', '}') | ('[', ']'));
        match sign {
            _ if is_in_text => out.push(sign),
            '}' | ']' => {
                depth -= 1;
                if !is_empty {
                    new_line(&mut out, depth);
                }
                out.push(sign);
            }
            ',' => {
                out.push(sign);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                if matches!(before, '{' | '[') {
                    new_line(&mut out, depth);
                }
                out.push(sign);
            }
        }
        if !is_in_text && matches!(sign, '{' | '[') {
            depth += 1;
        }
        // A text that begins is no sign of structure, whatever it begins with.
        before = if is_in_text { '"' } else { sign };
    });
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Calls `each` with every character, and whether it is inside a text, its quotes not counted.
fn each_sign(text: &str, mut each: impl FnMut(char, bool)) {
    let (mut is_in_text, mut is_escaped) = (false, false);
    for sign in text.chars() {
        if !is_in_text {
            is_in_text = sign == '"';
            each(sign, false);
        } else if sign == '"' && !is_escaped {
            is_in_text = false;
            each(sign, false);
        } else {
            is_escaped = sign == '\\' && !is_escaped;
            each(sign, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spaces_between_signs_change_and_names_keep_their_order() {
        let text = "{ \"b\" : [ 1.50 , { } , [ ] , \"a \\\" { , : \\\\\" ] ,\n\t\"a\":{\"x\":null}}";
        let short = r#"{"b":[1.50,{},[],"a \" { , : \\"],"a":{"x":null}}"#;
        assert_eq!(compact(text), short);
        let long = "{\n  \"b\": [\n    1.50,\n    {},\n    [],\n    \"a \\\" { , : \\\\\"\n  ],\n  \"a\": {\n    \"x\": null\n  }\n}";
        assert_eq!(spread(text), long);
        assert_eq!(compact(long), short);
        assert_eq!((&*spread("true"), &*spread("[\"\"]"), &*spread("{}")), ("true", "[\n  \"\"\n]", "{}"));
    }
}
