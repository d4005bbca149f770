//! Differentiable tensor operators for vision transformers on candle.
