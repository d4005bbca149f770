//! Vision transformers on candle: configuration, weights of every file family, load reports.
