//! Bills that agree, and texts that do not.

use gradus_graph::{Storage, Target};
use gradus_nn::{Embedding, Sequential};
use proptest::prelude::*;

use super::*;
use crate::networks::{ResNet18, cnn};
use crate::plan::{Mlp, Step, mlp, targets, train};

fn plain(widths: &[usize], batch: usize, target: Target) -> Mlp {
    let widths = widths.to_vec();
    Mlp {
        widths,
        dropout: 0.0,
        step: Step {
            input: Vec::new(),
            batch,
            target,
            clip: None,
            resident: None,
            tokens: false,
            storage: Storage::F32,
            weights: Storage::F32,
            memory: None,
        },
    }
}

fn dumped(model: &Mlp) -> String {
    format!("{:#}", mlp(model).unwrap())
}

/// The bill agrees and the limits are kept.
fn agrees(model: &Mlp, limits: Limits) {
    agrees_of(&dumped(model), limits);
}

fn agrees_of(text: &str, limits: Limits) {
    let report = check(text, &limits).unwrap();
    let faults = report.faults.join("\n");
    assert!(faults.is_empty(), "{faults}\n{}\n{text}", report.table);
}

const RATIOS: Limits = Limits {
    bytes: Some(1.15),
    transient: Some(1.15),
    shared: None,
    recomputed: None,
};

#[test]
fn the_bills_of_mlps_agree() {
    for target in targets() {
        agrees(&plain(&[784, 128, 10], 64, target.clone()), RATIOS);
        let deep = [&[512; 8][..], &[10]].concat();
        let shared = Limits {
            shared: Some(1.5),
            ..RATIOS
        };
        agrees(&plain(&deep, 2048, target), shared);
    }
}

#[test]
fn the_bills_of_convolutional_networks_agree() {
    for target in targets() {
        let step = |input: [usize; 3], batch| Step {
            input: input.to_vec(),
            batch,
            target: target.clone(),
            clip: None,
            resident: None,
            tokens: false,
            storage: Storage::F32,
            weights: Storage::F32,
            memory: None,
        };
        let text = format!("{:#}", train(&cnn(10), &step([1, 28, 28], 32)).unwrap());
        agrees_of(&text, Limits::default());
        let packed = Step {
            storage: Storage::Bf16,
            ..step([1, 27, 27], 3)
        };
        let text = format!("{:#}", train(&cnn(10), &packed).unwrap());
        assert!(text.contains(" bf16["));
        agrees_of(&text, Limits::default());
        let net = ResNet18 { classes: 1000 };
        let text = format!("{:#}", train(&net, &step([3, 64, 64], 4)).unwrap());
        agrees_of(&text, Limits::default());
    }
}

#[test]
fn the_bill_of_a_gradient_that_is_looked_up_agrees() {
    for target in targets() {
        let mut step = plain(&[], 5, target).step;
        (step.input, step.tokens, step.clip) = (vec![40], true, Some(1.0));
        let net = Sequential::new().layer(Embedding::new(8_209, 36));
        let plan = train(&net.tanh().dense(3), &step).unwrap();
        assert_eq!(plan.sparse.len(), 1);
        agrees_of(&format!("{plan:#}"), Limits::default());
    }
}

#[test]
fn the_bills_of_other_steps_agree() {
    for target in targets() {
        for batch in [1, 64, 513] {
            for width in [1, 7, 257] {
                let model = plain(&[width, width, width, 10], batch, target.clone());
                agrees(&model, Limits::default());
                agrees(
                    &Mlp {
                        dropout: 0.2,
                        ..model.clone()
                    },
                    Limits::default(),
                );
                agrees(
                    &Mlp {
                        step: Step {
                            clip: Some(1.0),
                            resident: Some(1000),
                            ..model.step
                        },
                        ..model
                    },
                    Limits::default(),
                );
            }
        }
    }
}

/// The text with the first line that contains `mark` changed.
fn changed(text: &str, mark: &str, change: impl Fn(&str) -> String) -> String {
    let mut found = false;
    let lines = text.lines().map(|line| {
        let hit = !found && line.contains(mark);
        found |= hit;
        if hit { change(line) } else { line.into() }
    });
    let lines: Vec<String> = lines.collect();
    assert!(found, "no {mark:?} in\n{text}");
    lines.join("\n")
}

#[test]
fn a_wrong_number_is_found() {
    let text = dumped(&plain(&[784, 128, 10], 64, Target::webgpu()));
    let faults = |text: &str| check(text, &Limits::default()).unwrap().faults.join("\n");
    assert_eq!(faults(&text), "");
    for name in [
        "bytes_bound",
        "transient_bound",
        "transient_unshared",
        "slabs",
        "flops",
    ] {
        let wrong = changed(&text, &format!("bill {name} "), |line| format!("{line}1"));
        assert!(
            faults(&wrong).starts_with(&format!("{name}: the plan says ")),
            "{wrong}"
        );
    }
    let missing = changed(&text, "bill bytes ", |_| String::new());
    assert!(faults(&missing).starts_with("bytes: the plan says -"));
}

#[test]
fn a_plan_that_contradicts_itself_is_found() {
    let text = dumped(&plain(&[784, 128, 10], 64, Target::webgpu()));
    let faults = |text: &str| check(text, &Limits::default()).unwrap().faults.join("\n");
    let small = changed(&text, "buffer slot[0]", |_| {
        "  buffer slot[0] 16 bytes".into()
    });
    assert!(faults(&small).contains("is larger than slot[0]"));
    let lost = changed(&text, "-> %", |line| line.replace("-> %", "-> %9"));
    assert!(
        faults(&lost).contains("is not in slot[0]"),
        "{}",
        faults(&lost)
    );
    let nothing = changed(&text, " b     <- %", |line| line.replacen(" b ", "   ", 1));
    assert!(faults(&nothing).contains("operand missing"));
}

#[test]
fn limits_are_kept() {
    let text = dumped(&plain(&[784, 128, 10], 64, Target::webgpu()));
    let limits = Limits {
        bytes: Some(0.5),
        transient: Some(0.5),
        shared: Some(9.0),
        recomputed: Some(0.9),
    };
    let faults = check(&text, &limits).unwrap().faults.join("\n");
    assert!(faults.contains("bytes / bytes_bound is "), "{faults}");
    assert!(
        faults.contains("transient / transient_bound is "),
        "{faults}"
    );
    assert!(
        faults.contains("transient_unshared / transient is "),
        "{faults}"
    );
}

#[test]
fn a_line_that_is_no_plan_is_named() {
    let error = check("plan `x`\n  nonsense", &Limits::default()).unwrap_err();
    assert!(format!("{error:#}").starts_with("line 2: "), "{error:#}");
    let short = format!("{}", mlp(&plain(&[8; 9], 4, Target::cpu())).unwrap());
    let error = check(&short, &Limits::default()).unwrap_err();
    assert!(
        format!("{error:#}").contains("expected a kernel"),
        "{error:#}"
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".*") {
        let _ = check(&text, &Limits::default());
        let _ = check(&format!("plan `x`\n{text}"), &Limits::default());
    }

    /// Words of plans in any order, sizes beyond every limit among them.
    #[test]
    fn any_lines_are_read_or_refused(lines in prop::collection::vec(line(), 0..12)) {
        let _ = check(&format!("plan `x`\n{}", lines.join("\n")), &Limits::default());
    }

    /// A plan with a few characters replaced.
    #[test]
    fn a_damaged_plan_is_read_or_refused(
        damage in prop::collection::vec((0_usize..4000, "[0-9×→%@·+ \\[\\]\n]"), 1..8),
    ) {
        let mut text: Vec<char> =
            dumped(&plain(&[4, 3, 2], 2, Target::webgpu())).chars().collect();
        for (at, new) in damage {
            let at = at % text.len();
            text.splice(at..=at, new.chars());
        }
        let text: String = text.into_iter().collect();
        let _ = check(&text, &Limits::default());
    }
}

fn line() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "0",
        "1",
        "2",
        "7",
        "18446744073709551615",
        "9223372036854775808",
        "4294967296",
        "a",
        "b",
        "sum",
        "<-",
        "->",
        "<>",
        "%0",
        "%1",
        "%0→%1",
        "name",
        "f32[2,",
        "f32[4294967296,",
        "4294967296]",
        "3]",
        "f32[]",
        "@",
        "slot[0]+0",
        "slot[1]+0",
        "params[0]+0",
        "pointwise",
        "rows",
        "matmul",
        "1×2×3",
        "4294967296×4294967296×4294967296",
        "NN",
        "take",
        "of",
        "scatter",
        "·",
        "FLOP",
        "buffer",
        "slot[0]",
        "bytes",
        "bill",
        "…",
    ]);
    let kernel = prop::sample::select(vec![
        "  0 k matmul 4294967296×4294967296×1 NN · 1 FLOP".to_string(),
        "  0 k pointwise [4] · 18446744073709551615 FLOP".into(),
        "  1 k pointwise [4] · 18446744073709551615 FLOP".into(),
        "        a <- %0 x f32[2, 2] @ slot[0]+0".into(),
        "        -> %0 x f32[4611686018427387903] @ slot[0]+0".into(),
        "  buffer slot[0] 18446744073709551615 bytes".into(),
        "  buffer slot[1] 18446744073709551615 bytes".into(),
    ]);
    let words = prop::collection::vec(word, 0..9);
    let line = ("|  |        ", words).prop_map(|(indent, words)| indent + &words.join(" "));
    prop_oneof![line, kernel]
}
