//! Tests that the queries use only what Athena (Trino) and DataFusion both understand, and read only their days.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use athena::query::SHIPPED;
use sqlparser::dialect::{AnsiDialect, GenericDialect};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

/// Functions with the same arguments and the same meaning on both engines. `to_unixtime` is for whole seconds only:
/// Trino keeps a fraction, and DataFusion drops it.
const COMMON_FUNCTIONS: [&str; 17] = [
    "abs",
    "avg",
    "cast",
    "coalesce",
    "count",
    "date_trunc",
    "floor",
    "lag",
    "least",
    "max",
    "min",
    "nullif",
    "round",
    "row_number",
    "sum",
    "to_unixtime",
    "varchar",
];

/// Words that may stand before a parenthesis but are not functions.
const NOT_FUNCTIONS: [&str; 3] = ["AS", "OVER", "AND"];

#[test]
fn every_file_in_the_folder_is_shipped_by_its_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let files: BTreeSet<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, SHIPPED.map(|(name, _)| format!("{name}.sql")).into());
}

#[test]
fn queries_are_one_statement_in_more_than_one_dialect() {
    for (name, sql) in SHIPPED {
        for statements in [Parser::parse_sql(&GenericDialect {}, sql), Parser::parse_sql(&AnsiDialect {}, sql)] {
            assert_eq!(statements.unwrap_or_else(|error| panic!("{name}: {error}")).len(), 1, "{name}");
        }
    }
}

#[test]
fn queries_call_only_functions_that_mean_the_same_on_both_engines() {
    for (name, sql) in SHIPPED {
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().unwrap();
        let tokens: Vec<_> = tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
        for pair in tokens.windows(2) {
            if let [Token::Word(word), Token::LParen] = pair {
                let known =
                    NOT_FUNCTIONS.contains(&word.value.as_str()) || COMMON_FUNCTIONS.contains(&word.value.as_str());
                assert!(known, "{name}: is {} the same on Athena and DataFusion?", word.value);
            }
        }
    }
}

#[test]
fn queries_say_what_they_answer_and_what_they_scan() {
    for (name, sql) in SHIPPED {
        let comment: Vec<&str> = sql.lines().take_while(|line| line.starts_with("--")).collect();
        assert!(comment.iter().any(|line| line.starts_with("-- Days:")), "{name}");
        assert!(comment.iter().any(|line| line.starts_with("-- Scans:")), "{name}");
    }
}

#[test]
fn queries_select_days_wherever_they_read_a_table() {
    for (name, sql) in SHIPPED {
        let code = || sql.lines().map(str::trim).filter(|line| !line.starts_with("--"));
        let reads = code().filter(|line| ["FROM ticks", "FROM alerts", "FROM quarantine"].contains(line)).count();
        let bounded =
            code().filter(|line| line.contains("dt >= cast(current_date - interval '1' day AS varchar)")).count();
        assert!(reads > 0, "{name}");
        assert_eq!(reads, bounded, "{name}");
    }
}
