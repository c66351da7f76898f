//! Learning tokens from texts.

use tokenizers::models::bpe::{BPE, BpeTrainer, Vocab};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Result, Trainer, decoders, models::TrainerWrapper,
};

use super::{Tokenizer, TokenizerError, guarded};

/// Special tokens of word pieces, in the order of their numbers.
const BERT: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// The special token of byte pairs.
const GPT: &str = "<|endoftext|>";
/// Every byte is a token.
const BYTES: usize = 256;

/// How to learn tokens from texts: the vocabulary grows by the most frequent pair of tokens until
/// it is large enough. The same texts give the same tokens.
///
/// Sources: Sennrich, Haddow & Birch (2016), arXiv:1508.07909; Wu et al. (2016),
/// arXiv:1609.08144.
#[derive(Clone, Debug)]
pub struct TokenizerTraining {
    kind: Kind,
    vocabulary: usize,
    min_frequency: u64,
    special: Vec<String>,
    lowercase: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bytes,
    Words,
}

impl TokenizerTraining {
    /// Byte pairs as in GPT-2, at most so many tokens and at least 257: every text has tokens, and
    /// decoding gives back what was encoded. `<|endoftext|>` is token 0; it also pads.
    pub fn bpe(vocabulary: usize) -> Self {
        Self::new(Kind::Bytes, vocabulary, &[GPT])
    }

    /// Word pieces as in BERT, at most so many: without capitals and accents, words divided where
    /// they are rare, `[UNK]` for characters never seen. A text is `[CLS] … [SEP]`, a pair
    /// `[CLS] … [SEP] … [SEP]`; `[PAD]` is token 0.
    ///
    /// All characters of the texts are tokens, even if they alone exceed the vocabulary.
    pub fn word_piece(vocabulary: usize) -> Self {
        Self::new(Kind::Words, vocabulary, &BERT)
    }

    fn new(kind: Kind, vocabulary: usize, special: &[&str]) -> Self {
        Self {
            kind,
            vocabulary,
            min_frequency: 2,
            special: special.iter().map(|&t| t.to_owned()).collect(),
            lowercase: true,
        }
    }

    /// A pair must occur so often to become a token; 2 unless set.
    #[must_use]
    pub const fn min_frequency(mut self, times: u64) -> Self {
        self.min_frequency = times;
        self
    }

    /// Further tokens that are never divided and that decoding leaves out.
    #[must_use]
    pub fn special_tokens<S: Into<String>>(mut self, tokens: impl IntoIterator<Item = S>) -> Self {
        self.special.extend(tokens.into_iter().map(Into::into));
        self
    }

    /// Keeps capitals and accents in word pieces; byte pairs do anyway.
    #[must_use]
    pub const fn keep_case(mut self) -> Self {
        self.lowercase = false;
        self
    }

    /// Learns from these texts, lines or whole documents.
    ///
    /// # Errors
    /// If there is no text, or the vocabulary is too small for what it must hold.
    pub fn train<S: AsRef<str> + Send>(
        &self,
        texts: impl Iterator<Item = S> + Send,
    ) -> std::result::Result<Tokenizer, TokenizerError> {
        let needed = match self.kind {
            Kind::Bytes => self.special.len() + BYTES,
            Kind::Words => self.special.len(),
        };
        if self.vocabulary < needed {
            return Err(TokenizerError::Vocabulary {
                vocabulary: self.vocabulary,
                needed,
            });
        }
        let mut texts = texts.filter(|text| !text.as_ref().is_empty()).peekable();
        if texts.peek().is_none() {
            return Err(TokenizerError::NoText);
        }
        let trained = guarded(|| match self.kind {
            Kind::Bytes => self.byte_pairs(texts),
            Kind::Words => self.word_pieces(texts),
        })?;
        Tokenizer::new(trained.map_err(TokenizerError::Train)?)
    }

    fn byte_pairs<S: AsRef<str> + Send>(
        &self,
        texts: impl Iterator<Item = S> + Send,
    ) -> Result<tokenizers::Tokenizer> {
        let mut tokenizer = tokenizers::Tokenizer::new(BPE::default());
        let bytes = ByteLevel::new(false, true, true);
        tokenizer.with_pre_tokenizer(Some(bytes));
        tokenizer.with_post_processor(Some(bytes));
        tokenizer.with_decoder(Some(bytes));
        let trainer = BpeTrainer::builder()
            .vocab_size(self.vocabulary)
            .min_frequency(self.min_frequency)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(self.added())
            .show_progress(false);
        tokenizer.train(&mut TrainerWrapper::from(trainer.build()), texts)?;
        Ok(tokenizer)
    }

    fn word_pieces<S: AsRef<str> + Send>(
        &self,
        texts: impl Iterator<Item = S> + Send,
    ) -> Result<tokenizers::Tokenizer> {
        let normalizer = BertNormalizer::new(true, true, None, self.lowercase);
        let words = |text: &str| {
            let mut text = NormalizedString::from(text);
            normalizer.normalize(&mut text)?;
            let mut words = PreTokenizedString::from(text);
            BertPreTokenizer.pre_tokenize(&mut words)?;
            let words = words.get_splits(OffsetReferential::Original, OffsetType::None);
            Ok(words.into_iter().map(|(word, ..)| marked(word)).collect())
        };
        // The crate's own trainer for word pieces numbers them in the order of a hash map.
        let mut trainer = BpeTrainer::builder()
            .vocab_size(self.vocabulary)
            .min_frequency(self.min_frequency)
            .special_tokens(self.added())
            .show_progress(false)
            .build();
        trainer.feed(texts, words)?;
        let mut pairs = BPE::default();
        let special = trainer.train(&mut pairs)?;
        let vocabulary = pairs.get_vocab().into_iter();
        let vocabulary = vocabulary.map(|(token, id)| (unmarked(&token), id));
        let model = WordPiece::builder().vocab(vocabulary.collect::<Vocab>());
        let mut tokenizer = tokenizers::Tokenizer::new(model.build()?);
        tokenizer.with_normalizer(Some(normalizer))?;
        tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
        tokenizer.with_decoder(Some(decoders::wordpiece::WordPiece::default()));
        tokenizer.add_special_tokens(special)?;
        let id = |token: &str| Some((token.to_owned(), tokenizer.token_to_id(token)?));
        let around: Vec<_> = ["[CLS]", "[SEP]"].into_iter().filter_map(id).collect();
        let template = TemplateProcessing::builder()
            .try_single("[CLS]:0 $A:0 [SEP]:0")?
            .try_pair("[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1")?
            .special_tokens(around)
            .build()?;
        tokenizer.with_post_processor(Some(template));
        Ok(tokenizer)
    }

    fn added(&self) -> Vec<AddedToken> {
        let special = self.special.iter();
        special.map(|t| AddedToken::from(t.clone(), true)).collect()
    }
}

/// Moves a character to a plane of Unicode that no text uses, or back from there: planes 0 to 3 to
/// 4 to 7, plane 14 to 10. The normalization has removed what is in no other.
const MARK: u32 = 0x4_0000;

/// A word whose characters are marked, all but the first: pieces within words are others.
fn marked(word: &str) -> String {
    let mark = |c: char| char::from_u32(u32::from(c) ^ MARK).unwrap_or(c);
    let mut chars = word.chars();
    chars.next().into_iter().chain(chars.map(mark)).collect()
}

/// The piece as BERT writes it: `##` before those within words.
fn unmarked(piece: &str) -> String {
    let is_marked = |c: char| matches!(u32::from(c) >> 16, 4..=7 | 10);
    let plain = |c: char| match is_marked(c) {
        true => char::from_u32(u32::from(c) ^ MARK).unwrap_or(c),
        false => c,
    };
    let prefix = if piece.starts_with(is_marked) {
        "##"
    } else {
        ""
    };
    prefix.chars().chain(piece.chars().map(plain)).collect()
}
