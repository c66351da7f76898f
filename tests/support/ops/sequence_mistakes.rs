//! Mistakes with sequences: attention, positions, recurrent layers.

use gradus_graph::{AttentionOptions, DType, Graph, Scope};
use gradus_nn::{
    Attend, Cell, LayerNorm, LearnedPositions, MultiHeadAttention, Recurrent, RmsNorm, Rotary,
    SinusoidalPositions,
};

use super::mistakes::{Mistake, f32s as x};

fn on(g: &Graph) -> Scope<'_> {
    Scope::root(g, true)
}

pub(super) fn mistakes() -> Vec<Mistake> {
    let mistake = |op, contains, build| Mistake {
        op,
        contains,
        build,
    };
    vec![
        mistake("attention", &["3 query heads", "2 key heads"], |g| {
            let kv = x(g, &[2, 5, 2, 4]);
            x(g, &[2, 4, 3, 4]).attention(kv, kv, &AttentionOptions::new());
        }),
        mistake(
            "attention",
            &["[2, 4, 2, 4]", "[2, 5, 2, 6]", "width"],
            |g| {
                let kv = x(g, &[2, 5, 2, 6]);
                x(g, &[2, 4, 2, 4]).attention(kv, kv, &AttentionOptions::new());
            },
        ),
        mistake("attention", &["[3, 5, 2, 4]", "batch"], |g| {
            let kv = x(g, &[3, 5, 2, 4]);
            x(g, &[2, 4, 2, 4]).attention(kv, kv, &AttentionOptions::new());
        }),
        mistake("attention", &["[B, T, heads, width]", "[2, 4, 8]"], |g| {
            x(g, &[2, 4, 8]).self_attention(2, 2, &AttentionOptions::new());
        }),
        mistake("attention", &["7 heads", "6 are expected"], |g| {
            x(g, &[2, 4, 7, 8]).self_attention(2, 2, &AttentionOptions::new());
        }),
        mistake(
            "attention",
            &["mask", "[2, 2, 4, 4]", "[1, 1, 4, 5]"],
            |g| {
                let mask = x(g, &[4, 5]);
                x(g, &[2, 4, 6, 8]).self_attention(2, 2, &AttentionOptions::new().mask(mask));
            },
        ),
        mistake("attention", &["rate", "below 1", "1"], |g| {
            x(g, &[2, 4, 6, 8]).self_attention(2, 2, &AttentionOptions::new().dropout(0, 1.0));
        }),
        mistake("multi_head_attention", &["3 heads", "8 features"], |g| {
            on(g).apply("n", &MultiHeadAttention::new(3), x(g, &[2, 4, 8]));
        }),
        mistake("multi_head_attention", &["4 query heads", "3 key"], |g| {
            let layer = MultiHeadAttention::new(4).groups(3);
            on(g).apply("n", &layer, x(g, &[2, 4, 8]));
        }),
        mistake("multi_head_attention", &["[2, 4, 8]", "[3, 5, 8]"], |g| {
            let to = Attend::new().memory(x(g, &[3, 5, 8]));
            MultiHeadAttention::new(2).attend(&on(g), x(g, &[2, 4, 8]), to);
        }),
        mistake(
            "multi_head_attention",
            &["bool [2, 4]", "f32 [2, 5]"],
            |g| {
                let to = Attend::new().keys(x(g, &[2, 5]));
                MultiHeadAttention::new(2).attend(&on(g), x(g, &[2, 4, 8]), to);
            },
        ),
        mistake("multi_head_attention", &["[B, H, T, S]", "[3, 4]"], |g| {
            let to = Attend::new().mask(x(g, &[3, 4]));
            MultiHeadAttention::new(2).attend(&on(g), x(g, &[2, 4, 8]), to);
        }),
        mistake("multi_head_attention", &["time", "[2, 8]"], |g| {
            on(g).apply("n", &MultiHeadAttention::new(2), x(g, &[2, 8]));
        }),
        mistake("learned_positions", &["9 positions", "for 8"], |g| {
            on(g).apply("n", &LearnedPositions::new(8), x(g, &[2, 9, 4]));
        }),
        mistake("sinusoidal_positions", &["odd", "[2, 9, 5]"], |g| {
            on(g).apply("n", &SinusoidalPositions, x(g, &[2, 9, 5]));
        }),
        mistake("learned_positions", &["[2, 9, 4]", "f32 [2, 9]"], |g| {
            LearnedPositions::new(9).at(&on(g), x(g, &[2, 9, 4]), x(g, &[2, 9]));
        }),
        mistake("sinusoidal_positions", &["[2, 9, 4]", "i32 [9]"], |g| {
            let positions = g.input("p", [9], DType::I32);
            SinusoidalPositions.at(x(g, &[2, 9, 4]), positions);
        }),
        mistake("documents", &["[B, T]", "f32 [2, 9]"], |g| {
            let _ = Attend::new().documents(x(g, &[2, 9]));
        }),
        mistake("rotary", &["even width", "[2, 9, 3, 5]"], |g| {
            Rotary::new().rotate(x(g, &[2, 9, 3, 5]));
        }),
        mistake("rotary", &["base", "above 1", "0.5"], |g| {
            Rotary::new().base(0.5).rotate(x(g, &[2, 9, 3, 4]));
        }),
        mistake("recurrent", &["time", "[2, 9]"], |g| {
            on(g).apply("n", &Recurrent::new(Cell::Gru, 4), x(g, &[2, 9]));
        }),
        mistake("recurrent", &["at least 1", "0 units"], |g| {
            on(g).apply("n", &Recurrent::new(Cell::Gru, 0), x(g, &[2, 9, 3]));
        }),
        mistake("recurrent", &["[2, 2, 4]", "[1, 2, 4]"], |g| {
            let layer = Recurrent::new(Cell::Lstm, 4).bidirectional();
            layer.unroll(&on(g), x(g, &[2, 9, 3]), Some(x(g, &[1, 2, 4])), None);
        }),
        mistake("recurrent", &["only an LSTM"], |g| {
            let state = x(g, &[1, 2, 4]);
            let layer = Recurrent::new(Cell::Gru, 4);
            layer.unroll(&on(g), x(g, &[2, 9, 3]), None, Some(state));
        }),
        mistake("layer_norm", &["at least 3 axes", "[2, 4]"], |g| {
            on(g).apply("n", &LayerNorm::new().axes(3), x(g, &[2, 4]));
        }),
        mistake("layer_norm", &["nothing", "[2, 0]"], |g| {
            on(g).apply("n", &LayerNorm::new(), x(g, &[2, 0]));
        }),
        mistake("rms_norm", &["eps", "above 0", "-1"], |g| {
            on(g).apply("n", &RmsNorm::new().eps(-1.0), x(g, &[2, 4]));
        }),
    ]
}
