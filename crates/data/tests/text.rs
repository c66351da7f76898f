//! Texts as tokens: what vocabularies know, and where windows, padding and packing put tokens.

use gradus_data::text::{
    DOCUMENTS, POSITIONS, PackSequences, PadSequences, TOKEN_MASK, TOKENS, Vocabulary,
    random_windows, windows,
};
use gradus_data::{Batch, DataError, Dataset, IGNORED, datasets};
use gradus_graph::{Array, Data};
use proptest::prelude::*;

fn numbers(array: Option<&Array>) -> Vec<i32> {
    match array.map(Array::data) {
        Some(Data::I32(v)) => v.clone(),
        Some(Data::Bool(v)) => v.iter().map(|&b| i32::from(b)).collect(),
        _ => Vec::new(),
    }
}

fn of(batch: &Batch, name: &str) -> Vec<i32> {
    numbers(batch.get(name))
}

fn input(data: &Dataset, name: &str) -> Vec<i32> {
    numbers(data.inputs().find(|(n, _)| *n == name).map(|(_, a)| a))
}

fn says<T>(result: Result<T, DataError>, message: &str) {
    match result {
        Ok(_) => assert_eq!("accepted", message),
        Err(error) => assert_eq!(error.to_string(), message),
    }
}

#[test]
fn moby_dick_is_whole() -> Result<(), DataError> {
    let text = datasets::moby_dick();
    assert_eq!(text.len(), 1_204_997);
    assert!(text.starts_with("CHAPTER 1. Loomings.\n\nCall me Ishmael."));
    assert!(text.ends_with("rolled five thousand years ago.\n"));
    assert_eq!(
        text.lines().filter(|l| l.starts_with("CHAPTER")).count(),
        135
    );
    let bytes = Vocabulary::bytes().encode(text)?;
    let mut seen = [false; 256];
    for &b in &bytes {
        seen[b as usize] = true;
    }
    assert_eq!(seen.iter().filter(|&&s| s).count(), 85);
    Ok(())
}

#[test]
fn bytes_are_their_own_numbers() -> Result<(), DataError> {
    let bytes = Vocabulary::bytes();
    assert_eq!((bytes.len(), bytes.is_empty()), (256, false));
    assert_eq!(bytes.encode("né")?, [110, 195, 169]);
    assert_eq!(bytes.id("n"), Some(110));
    assert_eq!(bytes.id("é"), None);
    assert_eq!(bytes.token(195).as_deref(), Some("\u{fffd}"));
    assert_eq!(bytes.decode(&[110, 195])?, "n\u{fffd}");
    says(
        bytes.decode(&[256]),
        "token 256, expected a number from 0 below 256",
    );
    let special = bytes.special(["<pad>", "</s>", "<pad>"]);
    assert_eq!(special.len(), 258);
    assert_eq!(special.encode("n")?, [112]);
    assert_eq!(special.id("</s>"), Some(1));
    assert_eq!(special.token(1).as_deref(), Some("</s>"));
    assert_eq!(special.decode(&[112, 1, 0, 0])?, "n");
    Ok(())
}

#[test]
fn unknown_pieces_are_named_or_have_a_token() -> Result<(), DataError> {
    let chars = Vocabulary::chars(["ab\n", "ç"]);
    assert_eq!(chars.encode("ba\nç")?, [2, 1, 0, 3]);
    says(
        chars.encode("açzz"),
        "\"z\" at byte 3 is none of 4 tokens; name one for such with `unknown`",
    );
    let chars = chars.special(["<pad>"]).unknown("<unk>");
    assert_eq!(chars.encode("az")?, [3, 1]);
    assert_eq!(chars.decode(&[3, 1, 4])?, "ab");

    let words = Vocabulary::words(["the whale", " the\tsea \n"]);
    assert_eq!(words.encode("the  sea")?, [1, 0]);
    assert_eq!(words.decode(&[1, 2])?, "the whale");
    says(
        words.encode("the ship"),
        "\"ship\" at byte 4 is none of 3 tokens; name one for such with `unknown`",
    );
    assert!(Vocabulary::words([" "]).is_empty());
    Ok(())
}

#[test]
fn targets_are_the_next_tokens() -> Result<(), DataError> {
    let tokens: Vec<i32> = (0..8).collect();
    let data = windows(&tokens, 3, 2)?;
    assert_eq!(input(&data, "x"), [0, 1, 2, 2, 3, 4, 4, 5, 6]);
    assert_eq!(numbers(Some(data.target())), [1, 2, 3, 3, 4, 5, 5, 6, 7]);
    assert_eq!(windows(&tokens, 7, 1)?.len(), 1);
    says(
        windows(&tokens, 8, 1),
        "8 tokens make no window of 8 and the token that follows",
    );
    let nothing = "expected at least 1 of both";
    says(
        windows(&tokens, 0, 1),
        &format!("windows of 0 tokens, one every 1: {nothing}"),
    );
    says(
        windows(&tokens, 2, 0),
        &format!("windows of 2 tokens, one every 0: {nothing}"),
    );
    assert!(windows(&tokens, usize::MAX, 1).is_err());

    let random = random_windows(&tokens, 3, 200, 7)?;
    let starts: Vec<i32> = input(&random, "x").chunks(3).map(|w| w[0]).collect();
    assert!((0..5).all(|s| starts.contains(&s)), "{starts:?}");
    let shifted = input(&random, "x")
        .iter()
        .map(|t| t + 1)
        .collect::<Vec<_>>();
    assert_eq!(numbers(Some(random.target())), shifted);
    assert_eq!(random, random_windows(&tokens, 3, 200, 7)?);
    assert_ne!(random, random_windows(&tokens, 3, 200, 8)?);
    assert!(random_windows(&tokens, 3, 0, 7).is_err());
    Ok(())
}

#[test]
fn padding_goes_where_it_should() -> Result<(), DataError> {
    let rows = [vec![5, 6, 7], vec![8]];
    let batch = PadSequences::with(0).batch(&rows)?;
    assert_eq!(of(&batch, TOKENS), [5, 6, 7, 8, 0, 0]);
    assert_eq!(of(&batch, TOKEN_MASK), [1, 1, 1, 1, 0, 0]);
    let left = PadSequences::with(9).length(4).left().batch(&rows)?;
    assert_eq!(of(&left, TOKENS), [9, 5, 6, 7, 9, 9, 9, 8]);
    assert_eq!(of(&left, TOKEN_MASK), [0, 1, 1, 1, 0, 0, 0, 1]);
    let cut = PadSequences::with(IGNORED).length(2).truncate();
    assert_eq!(numbers(Some(&cut.array(&rows)?)), [5, 6, 8, IGNORED]);
    says(
        PadSequences::with(0).length(2).batch(&rows),
        "sequence 0 has 3 tokens, expected at most 2",
    );
    says(
        PadSequences::with(0).multiple_of(0).batch(&rows),
        "the length cannot be a multiple of 0, expected at least 1",
    );
    let none = PadSequences::with(0).batch::<Vec<i32>>(&[])?;
    assert_eq!(none.len(), 0);
    Ok(())
}

#[test]
fn ignored_labels_are_no_class() -> Result<(), DataError> {
    let targets = || Array::vector(vec![0, IGNORED, 2]);
    let data = Dataset::from_arrays(Array::vector(vec![1, 2, 3]), targets())?;
    assert_eq!(data.classes(), Some(3));
    assert_eq!(data.clone().with_classes(4)?.classes(), Some(4));
    says(
        data.with_classes(2),
        "label 2 at sample 2, expected labels below 2 classes",
    );
    Ok(())
}

#[test]
fn packed_documents_keep_to_themselves() -> Result<(), DataError> {
    let documents = [
        vec![1, 2, 3, 4],
        vec![],
        vec![5],
        vec![6, 7],
        vec![8, 9, 10],
    ];
    let data = PackSequences::new(4).padding(99).next_tokens(&documents)?;
    let none = IGNORED;
    // Three places, then two more after one, in rows of four.
    assert_eq!(input(&data, TOKENS), [1, 2, 3, 6, 8, 9, 99, 99]);
    assert_eq!(
        numbers(Some(data.target())),
        [2, 3, 4, 7, 9, 10, none, none]
    );
    assert_eq!(input(&data, DOCUMENTS), [1, 1, 1, 2, 1, 1, 0, 0]);
    assert_eq!(input(&data, POSITIONS), [0, 1, 2, 0, 0, 1, 0, 0]);

    says(
        PackSequences::new(3).batch(&documents),
        "sequence 0 has 4 tokens, expected at most 3",
    );
    assert!(PackSequences::new(0).batch(&documents).is_err());
    let cut = PackSequences::new(2)
        .split()
        .next_tokens(&[vec![1, 2, 3, 4]])?;
    assert_eq!(input(&cut, TOKENS), [1, 2, 3, 0]);
    assert_eq!(numbers(Some(cut.target())), [2, 3, 4, none]);
    Ok(())
}

proptest! {
    #[test]
    fn bytes_and_characters_decode_to_what_was_encoded(text in any::<String>(), other in any::<String>()) {
        let bytes = Vocabulary::bytes().special(["<s>"]);
        prop_assert_eq!(&bytes.decode(&bytes.encode(&text)?)?, &text);
        let chars = Vocabulary::chars([&text, &other]).special(["<s>"]);
        prop_assert_eq!(&chars.decode(&chars.encode(&text)?)?, &text);
        let words = Vocabulary::words([&text]);
        let normal = text.split_whitespace().collect::<Vec<_>>().join(" ");
        prop_assert_eq!(words.decode(&words.encode(&text)?)?, normal);
    }

    #[test]
    fn other_texts_are_errors_or_unknown(text in any::<String>(), other in any::<String>()) {
        for known in [Vocabulary::chars([&text]), Vocabulary::words([&text])] {
            if let Err(DataError::UnknownToken { token, position, .. }) = known.encode(&other) {
                prop_assert!(other.get(position..).is_some_and(|rest| rest.starts_with(&token)));
                prop_assert_eq!(known.id(&token), None);
            }
            let known = known.unknown("<unk>");
            for id in known.encode(&other)? {
                let token = known.token(id);
                let same = token.as_deref().and_then(|token| known.id(token));
                prop_assert_eq!(same, Some(id));
            }
        }
    }

    #[test]
    fn any_numbers_decode_or_are_named(ids in prop::collection::vec(any::<i32>(), 0..20), small in prop::collection::vec(-1..300, 0..20)) {
        for known in [Vocabulary::bytes(), Vocabulary::chars(["abc"]), Vocabulary::words(["a b"])] {
            for ids in [&ids, &small] {
                if let Err(DataError::TokenRange { id, .. }) = known.decode(ids) {
                    prop_assert!(ids.contains(&id) && known.token(id).is_none());
                }
            }
        }
    }

    #[test]
    fn packing_loses_nothing(lengths in prop::collection::vec(0usize..9, 0..40), length in 1usize..9) {
        let mut next = 0..;
        let documents: Vec<Vec<i32>> = lengths.iter().map(|&n| next.by_ref().take(n).collect()).collect();
        let batch = PackSequences::new(length).padding(-1).split().batch(&documents)?;
        let (tokens, numbers, positions) = (of(&batch, TOKENS), of(&batch, DOCUMENTS), of(&batch, POSITIONS));
        let mut kept: Vec<i32> = tokens.iter().copied().filter(|&t| t >= 0).collect();
        kept.sort_unstable();
        prop_assert_eq!(kept, documents.concat());
        for i in 0..tokens.len() {
            prop_assert_eq!(tokens[i] < 0, numbers[i] == 0);
            if i % length > 0 && numbers[i] != 0 && numbers[i] == numbers[i - 1] {
                prop_assert_eq!([tokens[i] - 1, positions[i] - 1], [tokens[i - 1], positions[i - 1]]);
            } else {
                prop_assert_eq!(positions[i], 0);
            }
        }
    }
}
