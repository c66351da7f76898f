// erf.wgsl — the error function, 2/√π ∫₀ˣ e^(−t²) dt, to about one unit in the last place.
//
// Near 0 an odd polynomial; beyond, 1 − e^p(|x|) with a polynomial p fitted to ln(1 − erf), whose
// error shrinks with the exponential.
//
// source  minimax coefficients by N. Juffa, published 2016 for CUDA's single precision erf

fn g_erf(x: f32) -> f32 {
    let t = abs(x);
    let s = x * x;
    var far = -1.72853470e-5 * t + 3.83197126e-4;
    far = far * s + (-3.88396438e-3 * t + 2.42546219e-2);
    far = far * t - 1.06777877e-1;
    far = far * t - 6.34846687e-1;
    far = far * t - 1.28717512e-1;
    // Beyond 4 the result is 1 in f32; the clamp keeps p in the range of its fit.
    far = 1.0 - exp(far * min(t, 4.0) - min(t, 4.0));
    var near = -5.96761703e-4 * s + 4.99119423e-3;
    near = near * s - 2.67681349e-2;
    near = near * s + 1.12819925e-1;
    near = near * s - 3.76125336e-1;
    near = near * s + 1.28379166e-1;
    near = near * x + x;
    return select(near, select(far, -far, x < 0.0), t > 0.927734375);
}
