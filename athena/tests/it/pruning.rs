//! Tests what filters save: a filter by partition saves files, and a filter by symbol saves bytes.

use crate::fixture::{Cell, Fixture, HOUR_US, MIDNIGHT_US, cells};

async fn files_and_bytes(fixture: &Fixture, filter: &str) -> (usize, u64) {
    let answer = fixture.lake().run(&format!("SELECT sum(price * volume) FROM ticks {filter}")).await.unwrap();
    (answer.files, answer.bytes_read)
}

#[tokio::test]
async fn date_and_hour_select_files() {
    let fixture = Fixture::new();
    let (all, all_bytes) = files_and_bytes(&fixture, "").await;
    let (recent, recent_bytes) = files_and_bytes(&fixture, "WHERE dt >= '2026-11-22'").await;
    let (day, day_bytes) = files_and_bytes(&fixture, "WHERE dt = '2026-11-23'").await;
    let (hour, hour_bytes) = files_and_bytes(&fixture, "WHERE dt = '2026-11-23' AND hour >= 14").await;
    assert_eq!([all, recent, day, hour], [5, 4, 3, 1]);
    assert!(hour_bytes * 2 < day_bytes && day_bytes < recent_bytes && recent_bytes < all_bytes);
}

#[tokio::test]
async fn the_days_that_the_queries_ask_for_are_selected_by_partition() {
    let filter = "WHERE dt >= cast(current_date - interval '1' day AS varchar)";
    assert_eq!(files_and_bytes(&Fixture::new(), filter).await.0, 4);
}

#[tokio::test]
async fn symbol_skips_the_row_groups_of_other_symbols() {
    let fixture = Fixture::new();
    let (_, all) = files_and_bytes(&fixture, "").await;
    let (files, one) = files_and_bytes(&fixture, "WHERE symbol = 'AAPL'").await;
    assert_eq!(files, 5);
    assert!(one * 2 < all, "{one} bytes of {all}");
}

#[tokio::test]
async fn hour_below_ten_finds_its_padded_key() {
    let fixture = Fixture::new();
    let naive = fixture.ticks.iter().filter(|tick| tick.ts.div_euclid(HOUR_US) == MIDNIGHT_US / HOUR_US + 4).count();
    for filter in ["hour = 4", "4 = hour", "hour IN (4)", "hour BETWEEN 4 AND 4", "hour = 4 AND symbol <> ''"] {
        let sql = format!("SELECT count(*) FROM ticks WHERE dt = '2026-11-23' AND {filter}");
        assert_eq!(cells(&fixture.lake().run(&sql).await.unwrap()), [[Cell::from(naive)]], "{filter}");
    }
}
