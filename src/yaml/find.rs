//! Where something is written that was found wrong only when the whole was known.

use super::{Node, Place, Serial, Tree, parse, place};

/// The place of the value at a path such as `setup[0]`; where that is not there, of what it would be in.
/// `None` when the text is no YAML.
#[must_use]
pub fn find(text: &str, path: &str) -> Option<Place> {
    let root = parse(text).ok()?;
    let mut found: (Serial, &Node) = (root.serial, &root);
    let steps = path.split(['.', '[', ']']).filter(|step| !step.is_empty());
    for step in steps {
        let next = match &found.1.tree {
            Tree::Map(entries) => {
                let entry = entries.iter().find(|entry| entry.key == step);
                entry.map(|entry| (entry.value.serial, &entry.value))
            }
            Tree::List(items) => {
                let item = step.parse::<usize>().ok().and_then(|at| items.get(at));
                item.map(|item| (item.serial, item))
            }
            Tree::Nothing | Tree::Truth(_) | Tree::Whole(_) | Tree::Decimal(_) | Tree::Text(_) => {
                None
            }
        };
        let Some(next) = next else {
            break;
        };
        found = next;
    }
    Some(place(text, found.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_place() {
        let text = "run: [a, b]\nscoring:\n  quality:\n  - command: [x, y]\nsetup:\n- make\n";
        for (path, expected) in [
            ("run[1]", (1, 10)),
            ("scoring.quality[0].command[0]", (4, 15)),
            ("setup[0]", (6, 3)),
            ("setup[7]", (6, 1)),
            ("nothing", (1, 1)),
        ] {
            assert_eq!(find(text, path), Some(expected), "{path}");
        }
        assert_eq!(find("a: [", "a"), None);
    }
}
