//! The WGSL that generated kernels import.
//!
//! A kernel calls the functions of `lib/` by name; [`imports`] finds which files that takes. All
//! names start with `g_`, so that they cannot meet one of a kernel.
#![forbid(unsafe_code)]

/// The files of `lib/`: name and text. A file may use functions of others.
pub const FILES: &[(&str, &str)] = &[
    ("bf16", include_str!("../lib/bf16.wgsl")),
    ("erf", include_str!("../lib/erf.wgsl")),
    ("expm1", include_str!("../lib/expm1.wgsl")),
    ("int", include_str!("../lib/int.wgsl")),
    ("log1p", include_str!("../lib/log1p.wgsl")),
    ("nan", include_str!("../lib/nan.wgsl")),
    ("philox", include_str!("../lib/philox.wgsl")),
    ("pow", include_str!("../lib/pow.wgsl")),
    ("sigmoid", include_str!("../lib/sigmoid.wgsl")),
    ("tanh", include_str!("../lib/tanh.wgsl")),
];

/// The text of all files that this WGSL needs, directly or through others, in the order of
/// [`FILES`].
pub fn imports(wgsl: &str) -> String {
    let mut needed = vec![false; FILES.len()];
    let mut unseen = vec![wgsl];
    while let Some(text) = unseen.pop() {
        for ((_, file), needed) in FILES.iter().zip(&mut needed) {
            if !*needed && functions(file).any(|f| calls(text, f)) {
                *needed = true;
                unseen.push(file);
            }
        }
    }
    let files = FILES.iter().zip(needed).filter(|(_, needed)| *needed);
    files.map(|((_, text), _)| format!("{text}\n")).collect()
}

/// The names of the functions that a file declares.
fn functions(file: &str) -> impl Iterator<Item = &str> {
    file.lines()
        .filter_map(|line| line.strip_prefix("fn ")?.split('(').next())
}

/// Whether the text calls a function of this name.
fn calls(text: &str, function: &str) -> bool {
    text.match_indices(function).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let inside = before.is_some_and(|c| c == '_' || c.is_alphanumeric());
        !inside && text[at + function.len()..].starts_with('(')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_found_through_others() {
        let text = imports("let y = g_tanh(x);");
        assert!(text.contains("fn g_tanh(") && text.contains("fn g_expm1("));
        assert!(!text.contains("fn g_erf("));
        assert_eq!(imports("let y = my_g_erf(x) + g_erf;"), "");
    }
}
