"""Pure readers and writers: WARC, WET, JSONL, Parquet, text and HTML in; TMX, Moses and plain text out."""
