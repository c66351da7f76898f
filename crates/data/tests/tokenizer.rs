//! Tokens of texts: learned, read, written, and every way to be wrong.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a broken test may end in a panic"
)]

use gradus_data::{
    Dataset, TOKEN_MASK, TOKEN_TYPES, TOKENS, Tokenizer, TokenizerError, TokenizerTraining,
};
use gradus_graph::{Array, Data};
use proptest::prelude::*;

const TEXTS: [&str; 4] = [
    "The whale swims; the whale dives.",
    "A whaler sails the sea, and the sea sails on.",
    "Déjà vu: the sea, the sea!",
    "swimming whales, diving whalers",
];

fn words() -> Tokenizer {
    let training = TokenizerTraining::word_piece(80);
    training.train(TEXTS.iter()).unwrap()
}

fn bytes() -> Tokenizer {
    let training = TokenizerTraining::bpe(300).special_tokens(["<|user|>"]);
    training.train(TEXTS.iter()).unwrap()
}

fn integers(array: Option<&Array>) -> Vec<i32> {
    match array.map(Array::data) {
        Some(Data::I32(values)) => values.clone(),
        other => panic!("no integers: {other:?}"),
    }
}

#[test]
fn word_pieces_are_enclosed_in_special_tokens() {
    let tokenizer = words();
    let found = tokenizer.encode("The WHALE, the sea").unwrap();
    let name = |id: &i32| tokenizer.token(*id).unwrap();
    let names: Vec<String> = found.ids.iter().map(name).collect();
    assert_eq!(names.first().unwrap(), "[CLS]");
    assert_eq!(names.last().unwrap(), "[SEP]");
    assert!(names.contains(&"whale".to_owned()), "{names:?}");
    assert!(found.types.iter().all(|&t| t == 0));
    assert_eq!(tokenizer.decode(&found.ids).unwrap(), "the whale, the sea");
    // Accents go, and what was never seen is unknown.
    assert_eq!(
        tokenizer.encode("déjà").unwrap(),
        tokenizer.encode("DEJA").unwrap()
    );
    let unknown = tokenizer.encode("鯨").unwrap();
    assert_eq!(unknown.ids.get(1).copied(), tokenizer.id("[UNK]"));
    let plain = tokenizer.no_special_tokens().encode("the sea").unwrap();
    assert_eq!(plain.ids.len(), 2);
}

#[test]
fn pairs_have_types() {
    let tokenizer = words();
    let pair = tokenizer.encode(("the whale", "the sea")).unwrap();
    assert_eq!(pair.types, [0, 0, 0, 0, 1, 1, 1]);
    // The longer text is the one that is shortened.
    let short = tokenizer.max_length(6).unwrap();
    let pair = short.encode(("whale", "the sea the sea")).unwrap();
    assert_eq!(pair.types, [0, 0, 0, 1, 1, 1]);
}

#[test]
fn byte_pairs_give_back_every_text() {
    let tokenizer = bytes();
    assert!((265..=300).contains(&tokenizer.vocabulary()));
    for text in [
        "the whale",
        "  two  spaces\n",
        "鯨 \u{1F40B}",
        "",
        "\0\u{FFFD}",
    ] {
        let ids = tokenizer.encode(text).unwrap().ids;
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
    let few = tokenizer.encode("the whale").unwrap().ids.len();
    assert!(few < 5, "{few} tokens");
    let ids = tokenizer.encode("<|user|>sea<|endoftext|>").unwrap().ids;
    assert_eq!((ids.first(), ids.last()), (Some(&1), Some(&0)));
    assert_eq!(tokenizer.decode(&ids).unwrap(), "sea");
}

#[test]
fn the_same_texts_give_the_same_tokens() {
    for _ in 0..5 {
        assert_eq!(words().to_json().unwrap(), words().to_json().unwrap());
        assert_eq!(bytes().to_json().unwrap(), bytes().to_json().unwrap());
    }
}

#[test]
fn pieces_within_words_are_marked() {
    let tokenizer = words();
    let tokens = (0..60).filter_map(|id| tokenizer.token(id));
    let tokens: Vec<String> = tokens.collect();
    for token in ["whale", "##ing", "sea", "w", "##w", "."] {
        assert!(tokens.iter().any(|t| t == token), "{token}: {tokens:?}");
    }
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    assert_eq!(tokens[..5], special);
    // Characters of every plane that texts use.
    let far = TokenizerTraining::word_piece(80).keep_case();
    let far = far.train(["x\u{20000} y\u{E0101}z É"].iter()).unwrap();
    assert!(far.id("##\u{E0101}").is_some() && far.id("É").is_some());
}

#[test]
fn batches_are_padded() {
    let tokenizer = words();
    let (a, b) = ("the sea", "the whale swims");
    let lengths = [a, b].map(|t| tokenizer.encode(t).unwrap().ids.len());
    let longest = tokenizer.batch([a, b]).unwrap();
    assert_eq!(
        longest.get(TOKENS).unwrap().shape()[..],
        [2, lengths[0].max(lengths[1])]
    );
    let fixed = tokenizer.clone().length(10).unwrap().batch([a, b]).unwrap();
    let Some(Data::Bool(mask)) = fixed.get(TOKEN_MASK).map(Array::data) else {
        panic!("no mask");
    };
    let ids = integers(fixed.get(TOKENS));
    for (row, length) in [0, 1].into_iter().zip(lengths) {
        for i in 0..10 {
            assert_eq!(mask[row * 10 + i], i < length);
            assert_eq!(ids[row * 10 + i] == 0, i >= length);
        }
    }
    assert_eq!(integers(fixed.get(TOKEN_TYPES)), [0; 20]);
    let cut = tokenizer.length(4).unwrap();
    let ids = integers(cut.batch([b]).unwrap().get(TOKENS));
    assert_eq!((ids.len(), ids[3]), (4, cut.id("[SEP]").unwrap()));
    // What is encoded alone is not padded.
    assert_eq!(cut.encode("").unwrap().ids.len(), 2);
    // A batch is what a data set takes.
    let labels = Array::new([2], vec![0, 1]).unwrap();
    let data = Dataset::from_inputs(fixed, labels).unwrap();
    assert_eq!(
        data.inputs().map(|(n, _)| n).collect::<Vec<_>>(),
        [TOKENS, TOKEN_MASK, TOKEN_TYPES]
    );
}

#[test]
fn files_are_read_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    for tokenizer in [words(), bytes()] {
        tokenizer.save(&path).unwrap();
        let again = Tokenizer::open(&path).unwrap();
        for text in TEXTS {
            assert_eq!(tokenizer.encode(text).unwrap(), again.encode(text).unwrap());
        }
        // Lengths are the program's, not the file's.
        tokenizer.length(5).unwrap().save(&path).unwrap();
        let again = Tokenizer::open(&path).unwrap();
        assert!(again.encode(TEXTS[0]).unwrap().ids.len() > 5);
    }
}

#[test]
fn mistakes_are_named() {
    let says = |found: TokenizerError, parts: &[&str]| {
        let text = found.to_string();
        assert!(parts.iter().all(|p| text.contains(p)), "{text}");
    };
    says(words().length(3).unwrap_err(), &["3 tokens", "special"]);
    says(words().padding("<none>").unwrap_err(), &["<none>"]);
    says(words().decode(&[-1]).unwrap_err(), &["-1"]);
    says(Tokenizer::open("nowhere.json").unwrap_err(), &["nowhere"]);
    let nothing = std::iter::empty::<&str>();
    let none = TokenizerTraining::bpe(300).train(nothing);
    says(none.unwrap_err(), &["no text"]);
    let small = TokenizerTraining::bpe(100).train(TEXTS.iter());
    says(small.unwrap_err(), &["100", "257"]);
    // A vocabulary without a token that could pad.
    let json = bytes().to_json().unwrap().replace("<|endoftext|>", "end");
    let mut json: serde_json::Value = serde_json::from_str(&json).unwrap();
    json["padding"] = serde_json::Value::Null;
    let bare = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
    assert!(bare.batch(["the sea", "the sea"]).is_ok());
    says(bare.batch(["a", "the sea"]).unwrap_err(), &["padding"]);
    says(bare.clone().length(8).unwrap_err(), &["padding"]);
    assert!(bare.padding("end").unwrap().batch(["a", "the sea"]).is_ok());
}

/// A file that is damaged, or whose parts do not fit together.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let files = [words(), bytes()].map(|t| t.to_json().unwrap().into_bytes());
    let edit = (
        any::<prop::sample::Index>(),
        0usize..40,
        ".{0,8}|[0-9]{1,10}",
    );
    (0..2usize, prop::collection::vec(edit, 1..4)).prop_map(move |(which, edits)| {
        let mut file = files[which].clone();
        for (place, removed, added) in edits {
            let start = place.index(file.len());
            let end = (start + removed).min(file.len());
            file.splice(start..end, added.bytes());
        }
        file
    })
}

/// Every number of a file replaced by another.
fn renumbered() -> impl Strategy<Value = Vec<u8>> {
    let files = [words(), bytes()].map(|t| t.to_json().unwrap());
    (0..2usize, any::<prop::sample::Index>(), 0u64..400).prop_map(move |(which, at, value)| {
        let mut json: serde_json::Value = serde_json::from_str(&files[which]).unwrap();
        let mut numbers = Vec::new();
        collect(&mut json, &mut numbers);
        let chosen = at.index(numbers.len());
        *numbers[chosen] = value.into();
        json.to_string().into_bytes()
    })
}

fn collect<'a>(json: &'a mut serde_json::Value, numbers: &mut Vec<&'a mut serde_json::Value>) {
    match json {
        serde_json::Value::Number(_) => numbers.push(json),
        serde_json::Value::Array(all) => all.iter_mut().for_each(|v| collect(v, numbers)),
        serde_json::Value::Object(all) => all.values_mut().for_each(|v| collect(v, numbers)),
        _ => {}
    }
}

/// Errors are fine, panics are not.
fn use_it(json: &[u8], text: &str) {
    if let Ok(tokenizer) = Tokenizer::from_json(json) {
        let encoded = tokenizer.encode(text);
        let _ = tokenizer.batch([text, "the sea"]);
        if let Ok(tokens) = encoded {
            let _ = tokenizer.decode(&tokens.ids);
        }
        let _ = tokenizer
            .length(9)
            .map(|t| t.batch([(text, "sea")]).map(drop));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        use_it(&bytes, "the sea");
    }

    #[test]
    fn no_damage_makes_it_panic(json in damaged(), text in any::<String>()) {
        use_it(&json, &text);
    }

    #[test]
    fn no_numbers_make_it_panic(json in renumbered(), text in any::<String>()) {
        use_it(&json, &text);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), other in any::<String>(), length in 4usize..20) {
        for tokenizer in [words(), bytes()] {
            let short = tokenizer.clone().length(length).unwrap();
            let pair = short.batch([(&text[..], &other[..])]).unwrap();
            assert_eq!(pair.get(TOKENS).unwrap().shape()[..], [1, length]);
            let ids = tokenizer.encode(&text).unwrap().ids;
            let decoded = tokenizer.decode(&ids).unwrap();
            if tokenizer.id("[CLS]").is_none() && !text.contains("<|") {
                assert_eq!(decoded, text);
            }
        }
    }

    #[test]
    fn no_ids_make_it_panic(ids in prop::collection::vec(any::<i32>(), 0..20)) {
        for tokenizer in [words(), bytes()] {
            let _ = tokenizer.decode(&ids);
        }
    }
}
