//! Optimisers, schedules, exact resume and gradient audits for training on candle.
