//! Schedules against values that PyTorch's documented formulas give, worked out by hand.

use gradus_graph::{At, Optimizer, Rate};

use super::*;
use crate::{Adam, AdamW, Sgd};

const BASE: Rate = Rate {
    learning_rate: 0.1,
    momentum: 0.9,
};

fn rates(schedule: &dyn Schedule, epochs: bool, times: &[u32]) -> Vec<f64> {
    assert_eq!(schedule.mistake(), None);
    let at = |&t: &u32| {
        let (step, epoch) = if epochs { (7, t) } else { (t, 7) };
        let memory = &[];
        let at = At {
            step,
            epoch,
            memory,
        };
        let rate = schedule.rate(BASE, &at);
        assert_eq!(rate.momentum, BASE.momentum);
        rate.learning_rate
    };
    times.iter().map(at).collect()
}

#[track_caller]
fn near(found: &[f64], want: &[f64]) {
    assert_eq!(found.len(), want.len());
    for (f, w) in found.iter().zip(want) {
        assert!(
            (f - w).abs() <= 1e-14 * w.abs().max(1e-6),
            "{found:?} {want:?}"
        );
    }
}

#[test]
fn decays() {
    let constant = Constant::steps(0.5, 3);
    near(
        &rates(&constant, false, &[0, 2, 3, 9]),
        &[0.05, 0.05, 0.1, 0.1],
    );
    let stairs = StepDecay::epochs(30, 0.1);
    near(
        &rates(&stairs, true, &[0, 29, 30, 59, 60]),
        &[0.1, 0.1, 0.01, 0.01, 0.001],
    );
    let milestones = MultiStep::epochs([30, 80], 0.1);
    near(
        &rates(&milestones, true, &[29, 30, 79, 80]),
        &[0.1, 0.01, 0.01, 0.001],
    );
    near(
        &rates(&Exponential::steps(0.5), false, &[0, 1, 3]),
        &[0.1, 0.05, 0.0125],
    );
}

#[test]
fn lines_and_waves() {
    let linear = Linear::steps(0.25, 1.0, 4);
    near(
        &rates(&linear, false, &[0, 1, 2, 3, 4, 9]),
        &[0.025, 0.04375, 0.0625, 0.08125, 0.1, 0.1],
    );
    let cosine = Cosine::epochs(6).min(0.02);
    near(
        &rates(&cosine, true, &[0, 2, 3, 4, 6, 12]),
        &[0.1, 0.08, 0.06, 0.04, 0.02, 0.1],
    );
}

#[test]
fn a_schedule_begins_when_the_warm_up_is_over() {
    let warm = Warmup::steps(4).start(0.2).then(StepDecay::steps(2, 0.5));
    near(
        &rates(&warm, false, &[0, 1, 3, 4, 5, 6, 8]),
        &[0.02, 0.04, 0.08, 0.1, 0.1, 0.05, 0.025],
    );
    near(
        &rates(&Warmup::epochs(2), true, &[0, 1, 2, 50]),
        &[0.0, 0.05, 0.1, 0.1],
    );
}

/// `OneCycleLR(max_lr=0.1, total_steps=21, pct_start=1/3)`: up from step 0 to 6, down to 20.
#[test]
fn one_cycle() {
    let cycle = OneCycle::steps(21).rise(1.0 / 3.0);
    assert_eq!(cycle.mistake(), None);
    let at = |t| cycle.rate(BASE, &At::step(t));
    let rates: Vec<Rate> = [0, 3, 6, 13, 20, 30].map(at).to_vec();
    let (first, last) = (0.1 / 25.0, 0.1 / 25.0 / 1e4);
    let middle = |a: f64, b: f64| f64::midpoint(a, b);
    let learning: Vec<f64> = rates.iter().map(|r| r.learning_rate).collect();
    near(
        &learning,
        &[
            first,
            middle(first, 0.1),
            0.1,
            middle(0.1, last),
            last,
            last,
        ],
    );
    let momentum: Vec<f64> = rates.iter().map(|r| r.momentum).collect();
    near(&momentum, &[0.95, 0.9, 0.85, 0.9, 0.95, 0.95]);
    let line = OneCycle::epochs(21)
        .rise(1.0 / 3.0)
        .linear()
        .constant_momentum();
    let at = At {
        epoch: 2,
        ..At::default()
    };
    let rate = line.rate(BASE, &at);
    near(
        &[rate.learning_rate, rate.momentum],
        &[first + (0.1 - first) / 3.0, 0.9],
    );
    let none = Rate {
        momentum: 0.0,
        ..BASE
    };
    assert_eq!(cycle.rate(none, &At::step(3)).momentum, 0.0);
}

/// Values of PyTorch's `OneCycleLR` with `three_phase`.
#[test]
fn one_cycle_of_three_phases() {
    // Lines end as far off as their beginnings are large.
    let close = |rates: &[Rate], want: &[f64]| {
        for (rate, want) in rates.iter().zip(want) {
            let found = rate.learning_rate;
            assert!((found - want).abs() < 1e-15, "{found} {want}");
        }
    };
    let at = |cycle: &OneCycle, n: u32| -> Vec<Rate> {
        assert_eq!(cycle.mistake(), None);
        (0..n).map(|t| cycle.rate(BASE, &At::step(t))).collect()
    };
    let rates = at(&OneCycle::steps(12).rise(0.25).three_phases(), 12);
    let want = [
        0.004,
        0.052,
        0.1,
        0.052,
        0.004,
        0.003_801_957_542_031_257_5,
        0.003_247_054_905_757_095_3,
        0.002_445_197_363_725_837_3,
        0.001_555_202_636_274_162_6,
        0.000_753_345_094_242_904_8,
        0.000_198_442_457_968_742_42,
        4e-7,
    ];
    close(&rates, &want);
    let momenta: Vec<f64> = rates.iter().map(|r| r.momentum).collect();
    near(&momenta[..6], &[0.95, 0.9, 0.85, 0.9, 0.95, 0.95]);
    let line = OneCycle::steps(10).rise(0.4).linear().constant_momentum();
    let rates = at(&line.three_phases(), 10);
    let want = [
        0.004,
        0.036,
        0.068,
        0.1,
        0.068,
        0.036,
        0.004,
        0.002_666_8,
        0.001_333_6,
        4e-7,
    ];
    close(&rates, &want);
}

/// Values of PyTorch's `ReduceLROnPlateau(factor=0.5, patience=1)` with other settings.
#[test]
fn plateaus_of_every_kind() {
    let losses = [1.0, 0.9, 0.9, 0.9, 0.95, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8];
    // After which losses the rate falls.
    let cases: [(Plateau, f64, &[usize]); 8] = [
        (Plateau::new(), 0.0, &[3, 7, 9]),
        (Plateau::new().rising(), 0.0, &[2, 4, 6, 8, 10]),
        (Plateau::new().threshold_abs(0.12), 0.0, &[2, 4, 7, 9]),
        (
            Plateau::new().rising().threshold_abs(0.05),
            0.0,
            &[2, 4, 6, 8, 10],
        ),
        (Plateau::new().cooldown(2), 0.0, &[3, 7]),
        (Plateau::new().min(0.02), 0.02, &[3, 7, 9]),
        (
            Plateau::new().rising().threshold(0.06),
            0.0,
            &[2, 4, 6, 8, 10],
        ),
        (Plateau::new().eps(0.03), 0.0, &[3]),
    ];
    for (plateau, min, falls) in cases {
        let plateau = plateau.factor(0.5).patience(1);
        assert_eq!(plateau.mistake(), None);
        let (mut memory, mut want) = (Vec::new(), 0.1f64);
        for (i, loss) in losses.into_iter().enumerate().take(11) {
            plateau.observe(&mut memory, loss);
            if falls.contains(&i) {
                want = (want * 0.5).max(min);
            }
            let at = At {
                memory: &memory,
                ..At::default()
            };
            let found = plateau.rate(BASE, &at).learning_rate;
            assert!(
                (found - want).abs() < 1e-12,
                "{plateau:?} {i}: {found} {want}"
            );
        }
    }
}

/// Values of PyTorch.
#[test]
fn powers_and_restarts() {
    let power = Polynomial::steps(5, 2.0);
    near(
        &rates(&power, false, &[0, 1, 2, 3, 4, 5, 7]),
        &[0.1, 0.064, 0.036, 0.016, 0.004, 0.0, 0.0],
    );
    let restarts = CosineRestarts::epochs(3).growth(2).min(0.01);
    near(
        &rates(&restarts, true, &[0, 1, 2, 3, 5, 6, 7, 9, 11]),
        &[
            0.1,
            0.0775,
            0.0325,
            0.1,
            0.0775,
            0.055,
            0.0325,
            0.1,
            0.093_971_143_170_299_75,
        ],
    );
    let same = CosineRestarts::steps(4);
    near(
        &rates(&same, false, &[0, 2, 4, 4_000_002]),
        &[0.1, 0.05, 0.1, 0.05],
    );
    let noam = Noam::steps(64, 4);
    near(
        &rates(&noam, false, &[0, 3, 15]),
        &[0.1 / 8.0 / 8.0, 0.1 / 8.0 / 2.0, 0.1 / 8.0 / 4.0],
    );
}

/// Values of PyTorch's `SequentialLR` and `ChainedScheduler`.
#[test]
fn schedules_in_rows_and_at_once() {
    let row = Sequence::steps(Constant::steps(0.1, 2))
        .then(3, Exponential::steps(0.9))
        .then(6, Linear::steps(1.0, 0.5, 2));
    near(
        &rates(&row, false, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 30]),
        &[0.01, 0.01, 0.1, 0.1, 0.09, 0.081, 0.1, 0.075, 0.05, 0.05],
    );
    let both = Chained::new(Linear::steps(0.25, 1.0, 4)).with(Cosine::steps(6));
    near(
        &rates(&both, false, &[0, 1, 2, 3, 6]),
        &[0.025, 0.040_819_305_707_784_6, 0.046_875, 0.040_625, 0.0],
    );
}

/// PyTorch's counting: patience 2 lets two bad epochs pass and acts on the third.
#[test]
fn plateau() {
    let plateau = Plateau::new()
        .patience(2)
        .factor(0.5)
        .cooldown(1)
        .threshold(0.1);
    let sgd = Sgd::new(0.1).schedule(plateau.min(0.03));
    let mut memory = Vec::new();
    let losses = [
        1.0,
        0.95,
        0.91,
        0.92,
        0.9,
        0.95,
        0.95,
        0.95,
        0.89,
        f64::NAN,
        2.0,
        2.0,
        2.0,
        2.0,
        2.0,
    ];
    let mut seen = Vec::new();
    for loss in losses {
        sgd.observe(&mut memory, loss);
        let at = At {
            memory: &memory,
            ..At::default()
        };
        seen.push(sgd.rate(&at).learning_rate);
    }
    // Bad from the second on; the fourth epoch is the third bad one. The fifth only cools down,
    // three bad ones follow.
    let want = [
        0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03, 0.03, 0.03, 0.03, 0.03,
    ];
    near(&seen, &want);
}

#[test]
fn the_row_follows_the_schedule() {
    let sgd = Sgd::new(0.1)
        .momentum(0.9)
        .schedule(OneCycle::steps(21).rise(1.0 / 3.0));
    assert_eq!(sgd.words(&At::step(6)), [0.1, 1.0, 0.85]);
    let adamw = AdamW::new(0.1)
        .weight_decay(0.5)
        .schedule(Exponential::steps(0.5));
    let at = At::step(1);
    let plain = AdamW::new(0.05).weight_decay(0.5);
    assert_eq!(adamw.words(&at), plain.words(&at));
    let cycled = Adam::new(0.1).schedule(OneCycle::steps(21).rise(1.0 / 3.0));
    let fixed = Adam::new(0.1).betas(0.85, 0.999);
    assert_eq!(cycled.words(&At::step(6)), fixed.words(&At::step(6)));
}

#[test]
fn mistakes_are_said_in_words() {
    let says = |schedule: &dyn Schedule, what: &str| {
        let found = schedule.mistake().unwrap_or_default();
        assert!(found.contains(what), "{found:?} does not say {what}");
    };
    says(&Cosine::steps(0), "total must be greater than 0");
    says(&Cosine::steps(3).min(-1.0), "min must be 0 or more");
    says(&StepDecay::steps(0, 0.1), "size");
    says(&Exponential::steps(f64::NAN), "gamma");
    says(&MultiStep::steps([3], -1.0), "gamma");
    says(&Linear::steps(-1.0, 1.0, 3), "first factor");
    says(&Constant::epochs(0.0, 3), "factor");
    says(&Warmup::steps(3).start(2.0), "[0, 1]");
    says(&Warmup::steps(3).then(Cosine::steps(0)), "total");
    says(&OneCycle::steps(2), "too short");
    says(&OneCycle::steps(20).rise(1.0), "(0, 1)");
    says(&OneCycle::steps(20).momentum(0.9, 0.8), "momentum");
    says(&OneCycle::steps(20).rise(0.6).three_phases(), "at most 0.5");
    says(&Plateau::new().factor(1.0), "below 1");
    says(&Plateau::new().threshold(1.5), "below 1");
    says(&Plateau::new().threshold_abs(-1.0), "0 or more");
    says(&Noam::steps(0, 3), "width");
    says(&Polynomial::steps(3, 0.0), "power");
    says(&CosineRestarts::steps(3).growth(0), "growth");
    says(&Sequence::steps(()).then(3, Cosine::steps(0)), "total");
    says(
        &Sequence::steps(()).then(3, ()).then(3, ()),
        "after the one before",
    );
    says(&Chained::new(()).with(Cosine::steps(0)), "total");
}
