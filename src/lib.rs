//! loopfm
