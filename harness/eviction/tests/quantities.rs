//! Quantities against the answers of Kubernetes' own code, and laws that hold for all of them.

use std::cmp::Ordering;
use std::fs;
use std::path::Path;

use plimsoll_eviction::quantity::{Format, Quantity};
use proptest::prelude::*;

fn check(line: &str, before: &Quantity, second: &Quantity) -> Option<Quantity> {
    let fields: Vec<&str> = line.split('\t').collect();
    let text = fields[0];
    let parsed = text.parse::<Quantity>();
    if fields[1] == "ERR" {
        let error = parsed.expect_err(text);
        assert_eq!(error.upstream_text(), fields[2], "{text:?}");
        return None;
    }
    let quantity = parsed.unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let format = match fields[4] {
        "BinarySI" => Format::BinarySi,
        "DecimalSI" => Format::DecimalSi,
        _ => Format::DecimalExponent,
    };
    let comparison = match fields[7] {
        "-1" => Ordering::Less,
        "0" => Ordering::Equal,
        _ => Ordering::Greater,
    };
    let binary = Quantity::from_bytes(fields[8].parse().expect("a 64-bit number"));
    let sum = quantity.clone() + before;
    let three = sum.clone() + second;
    assert_eq!(quantity.to_string(), fields[1], "{text:?} printed");
    assert_eq!(quantity.exact(), fields[2], "{text:?} exactly");
    assert_eq!(quantity.upstream_value().to_string(), fields[3], "{text:?} as a whole number");
    assert_eq!(quantity.format(), format, "{text:?} format");
    assert_eq!(sum.to_string(), fields[5], "{text:?} + {before:?}");
    assert_eq!((quantity.clone() - before).to_string(), fields[6], "{text:?} - {before:?}");
    assert_eq!(quantity.cmp(before), comparison, "{text:?} against {before:?}");
    assert_eq!((binary + &quantity).to_string(), fields[9], "{text:?} + {}", fields[8]);
    assert_eq!(three.to_string(), fields[10], "{text:?} + {before:?} + {second:?}");
    assert_eq!(three.upstream_value().to_string(), fields[11], "{three:?}");
    Some(quantity)
}

#[test]
fn agrees_with_kubernetes_on_every_spelling() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/quantities.tsv");
    let table = fs::read_to_string(path).expect("the table");
    let (mut before, mut second) = (Quantity::default(), Quantity::default());
    let mut checked = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        checked += 1;
        if let Some(quantity) = check(line, &before, &second) {
            second = std::mem::replace(&mut before, quantity);
        }
    }
    assert!(checked > 200, "only {checked} rows");
}

#[test]
fn errors_say_what_was_expected() {
    let error = "512MiB".parse::<Quantity>().expect_err("no such suffix").to_string();
    assert!(error.contains("\"512MiB\" is not a quantity"), "{error}");
    let error = "512mi".parse::<Quantity>().expect_err("no such suffix").to_string();
    assert!(error.contains("Did you mean \"Mi\"?"), "{error}");
    assert!("1e2000000000".parse::<Quantity>().is_err());
    assert_eq!("1e-2000000000".parse::<Quantity>().expect("tiny").exact(), "0.000000001");
}

#[test]
fn documents_hold_texts_or_numbers() {
    let quantities: Vec<Quantity> =
        serde_json::from_str("[\"1.5\", 7, -3, 0.5, 18446744073709551615]").expect("quantities");
    let texts: Vec<String> = quantities.iter().map(Quantity::exact).collect();
    assert_eq!(texts, ["1.5", "7", "-3", "0.5", "18446744073709551615"]);
    assert_eq!(serde_json::to_string(&quantities[0]).expect("text"), "\"1500m\"");
}

fn spelling() -> impl Strategy<Value = String> {
    let suffix = prop::sample::select(vec![
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-2",
        "e7",
    ]);
    ("[+-]?[0-9]{1,20}(\\.[0-9]{0,6})?", suffix).prop_map(|(number, suffix)| number + suffix)
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_same_value(text in spelling()) {
        let quantity: Quantity = text.parse().expect("a valid spelling");
        let printed = quantity.to_string();
        let again: Quantity = printed.parse().expect("what was printed");
        // Past the largest suffix upstream prints the digits and drops the power: nothing reads that back.
        prop_assume!(quantity.abs_diff_fits());
        prop_assert_eq!(&quantity, &again, "{} -> {}", text, printed);
        prop_assert_eq!(again.to_string(), printed);
    }

    #[test]
    fn order_is_that_of_the_exact_numbers(a in spelling(), b in spelling(), c in spelling()) {
        let [a, b, c] = [a, b, c].map(|text| text.parse::<Quantity>().expect("a valid spelling"));
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
        let difference = a.clone() - &b;
        prop_assert_eq!(difference.sign(), a.cmp(&b));
        prop_assert_eq!(difference + &b, a);
    }
}

trait Fits {
    fn abs_diff_fits(&self) -> bool;
}

impl Fits for Quantity {
    fn abs_diff_fits(&self) -> bool {
        let limit: Quantity = "1e21".parse().expect("a number");
        *self < limit && Self::default() - self < limit
    }
}
