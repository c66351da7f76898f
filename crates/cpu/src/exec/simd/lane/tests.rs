//! The functions against the standard library's in f64.

use super::*;

/// Units in the last place between a result and the truth.
fn ulps(y: f32, truth: f64) -> f64 {
    let rounded = truth as f32;
    if y == rounded || (y.is_nan() && truth.is_nan()) {
        return 0.0;
    }
    let exponent = rounded.abs().max(f32::MIN_POSITIVE).log2().floor();
    (f64::from(y) - truth).abs() / f64::from((exponent - 23.0).exp2())
}

fn check(name: &str, f: fn(f32) -> f32, truth: fn(f64) -> f64, range: (f32, f32), bound: f64) {
    let mut worst = (0.0, 0.0);
    for i in 0..400_000 {
        let x = range.0 + (range.1 - range.0) * (i as f32 / 400_000.0);
        let error = ulps(f(x), truth(f64::from(x)));
        if error > worst.0 {
            worst = (error, x);
        }
    }
    assert!(worst.0 <= bound, "{name}: {} ulp at {}", worst.0, worst.1);
}

#[test]
fn functions_are_within_four_units() {
    check("exp", exp, f64::exp, (-87.0, 88.7), 2.0);
    check("exp_m1", exp_m1, f64::exp_m1, (-30.0, 88.0), 4.0);
    check("exp_m1", exp_m1, f64::exp_m1, (-0.1, 0.1), 2.0);
    check("ln", ln, f64::ln, (1e-30, 20.0), 2.0);
    check("ln", ln, f64::ln, (0.9, 1.1), 2.0);
    check("ln_1p", ln_1p, f64::ln_1p, (-0.99, 10.0), 4.0);
    check("ln_1p", ln_1p, f64::ln_1p, (-1e-4, 1e-4), 4.0);
    check("tanh", tanh, f64::tanh, (-12.0, 12.0), 4.0);
    check("tanh", tanh, f64::tanh, (-1e-3, 1e-3), 4.0);
    check("erf", erf, libm_erf, (-5.0, 5.0), 4.0);
    check("sin", |x| sine(x, 0), f64::sin, (-3.0, 3.0), 4.0);
    check("cos", |x| sine(x, 1), f64::cos, (-1.5, 1.5), 4.0);
}

fn libm_erf(x: f64) -> f64 {
    gradus_graph::ops::Unary::Erf.apply(x)
}

/// Near the zeros of large angles a relative bound is not to be had; an absolute one is.
#[test]
fn angles_below_the_limit_are_accurate() {
    for i in 0..200_000 {
        let x = -LARGE_ANGLE + i as f32 * (2.0 * LARGE_ANGLE / 200_000.0);
        assert!(
            (f64::from(sine(x, 0)) - f64::from(x).sin()).abs() < 2e-7,
            "sin {x}"
        );
        assert!(
            (f64::from(sine(x, 1)) - f64::from(x).cos()).abs() < 2e-7,
            "cos {x}"
        );
    }
}

#[test]
fn special_values() {
    assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    assert_eq!(exp(f32::INFINITY), f32::INFINITY);
    assert_eq!(exp(-1000.0), 0.0);
    assert_eq!(exp(100.0), f32::INFINITY);
    assert_eq!(exp(0.0), 1.0);
    assert_eq!(exp_m1(f32::NEG_INFINITY), -1.0);
    assert_eq!(exp_m1(f32::INFINITY), f32::INFINITY);
    assert_eq!(ln(0.0), f32::NEG_INFINITY);
    assert_eq!(ln(f32::INFINITY), f32::INFINITY);
    assert!(ln(-1.0).is_nan());
    assert!(ulps(ln(1e-40), f64::from(1e-40f32).ln()) < 2.0);
    assert_eq!(ln_1p(-1.0), f32::NEG_INFINITY);
    assert_eq!(ln_1p(f32::INFINITY), f32::INFINITY);
    assert_eq!(tanh(f32::INFINITY), 1.0);
    assert_eq!(tanh(-50.0), -1.0);
    assert_eq!(tanh(-0.0).to_bits(), (-0f32).to_bits());
    assert_eq!(erf(f32::NEG_INFINITY), -1.0);
    for f in [exp, exp_m1, ln, ln_1p, tanh, erf] {
        assert!(f(f32::NAN).is_nan());
    }
    assert!(sine(f32::NAN, 0).is_nan());
}
