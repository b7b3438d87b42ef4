//! Tests that Athena finds the files. Athena computes their folders from the table properties, and the engine must
//! write to the same folders.

use athena::ddl::{SHIPPED, TableDdl};
use ticklake_core::decode::DecodeConfig;
use ticklake_core::lake::partition_path;
use ticklake_schemas::Table;

use crate::fixture::{HOUR_US, MIDNIGHT_US};

/// The projected range begins at the earliest event time that the decoder accepts.
fn begin_us() -> i64 {
    DecodeConfig::default().ts_min.as_us()
}

fn tables() -> impl Iterator<Item = (Table, TableDdl)> {
    Table::ALL.into_iter().map(|table| {
        let ddl = SHIPPED.iter().map(|sql| TableDdl::parse(sql).unwrap()).find(|ddl| ddl.name == table.name());
        (table, ddl.unwrap())
    })
}

/// The folder in which Athena looks for the rows of `ts`. It fills in the template as the projection says.
fn projected(ddl: &TableDdl, ts: i64) -> String {
    let property = |name: &str| ddl.properties.get(name).unwrap_or_else(|| panic!("{}: no {name}", ddl.name)).as_str();
    let mut location = property("storage.location.template").to_owned();
    for (name, _) in &ddl.partitions {
        let value = match property(&format!("projection.{name}.type")) {
            "date" => {
                assert_eq!(property(&format!("projection.{name}.format")), "yyyy-MM-dd");
                let (year, month, day) = civil(ts.div_euclid(24 * HOUR_US));
                format!("{year:04}-{month:02}-{day:02}")
            }
            "integer" => {
                let hour = ts.div_euclid(HOUR_US).rem_euclid(24);
                let (from, to) = property(&format!("projection.{name}.range")).split_once(',').unwrap();
                assert!(
                    (from.parse().unwrap()..=to.parse().unwrap()).contains(&hour),
                    "{name}={hour} is not projected"
                );
                let digits: usize = property(&format!("projection.{name}.digits")).parse().unwrap();
                format!("{hour:0digits$}")
            }
            other => panic!("{}: unexpected projection type {other}", ddl.name),
        };
        location = location.replace(&format!("${{{name}}}"), &value);
    }
    location
}

/// Year, month and day of a number of days since 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + z.div_euclid(146_097) * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[test]
fn projected_folders_are_those_of_the_writer() {
    for (table, ddl) in tables() {
        // Every hour of 30 years would be 260,000 keys. Steps of 7 hours meet each hour of the day and day of the year.
        for ts in (begin_us()..begin_us() + 30 * 366 * 24 * HOUR_US).step_by(7 * HOUR_US as usize) {
            let written = format!("s3://BUCKET/PREFIX/{}/", partition_path(table, ts));
            assert_eq!(projected(&ddl, ts), written);
        }
    }
}

#[test]
fn every_partition_column_is_projected() {
    for (table, ddl) in tables() {
        assert_eq!(ddl.properties["projection.enabled"], "true", "{}", table.name());
        let names: Vec<&str> = ddl.partitions.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, table.partition_columns(), "{}", table.name());
    }
}

#[test]
fn projected_days_begin_before_the_oldest_replay_and_end_after_today() {
    for (table, ddl) in tables() {
        let (from, to) = ddl.properties["projection.dt.range"].split_once(',').unwrap();
        assert!(partition_path(table, begin_us()).contains(&format!("dt={from}")), "{}: {from}", table.name());
        // A producer with a clock that is ahead writes to tomorrow before midnight.
        let days = DecodeConfig::default().ts_future_max.as_secs().div_ceil(86_400);
        assert_eq!(to, format!("NOW+{days}DAYS"), "{}", table.name());
        assert_eq!(ddl.properties["projection.dt.interval"], "1", "{}", table.name());
        assert_eq!(ddl.properties["projection.dt.interval.unit"], "DAYS", "{}", table.name());
    }
}

#[test]
fn only_the_hour_is_padded() {
    for (table, ddl) in tables() {
        let padded: Vec<&str> =
            ddl.partitions.iter().map(|(name, _)| name.as_str()).filter(|name| ddl.is_padded(name)).collect();
        assert_eq!(padded, if table == Table::Ticks { vec!["hour"] } else { vec![] }, "{}", table.name());
        assert!(partition_path(table, MIDNIGHT_US + 4 * HOUR_US).ends_with("/hour=04") || padded.is_empty());
    }
}
