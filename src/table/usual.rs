//! The columns that a comparison has: the usual ones, others, or the usual ones with some more and some less.

use crate::record::Record;
use crate::spec::Task;
use crate::stats::ENOUGH_FOR_INTERVAL;
use crate::table::column::Column;
use crate::table::group::Group;

/// What is wished of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnWish {
    /// Named columns stand instead of the usual ones.
    Shown(Column),
    /// Beside the others.
    Added(Column),
    /// Not among the others.
    LeftOut(Column),
}

impl ColumnWish {
    /// Returns the wish for a column whose name had this before it: `+`, `-` or nothing.
    pub fn of(sign: Option<char>, column: Column) -> ColumnWish {
        match sign {
            Some('+') => ColumnWish::Added(column),
            Some('-') => ColumnWish::LeftOut(column),
            _ => ColumnWish::Shown(column),
        }
    }
}

/// Returns the columns that are shown: the named ones in their order, or the usual ones, each wish granted in its turn.
pub(super) fn chosen(usual: Vec<Column>, wishes: &[ColumnWish]) -> Vec<Column> {
    let is_named = wishes.iter().any(|wish| matches!(wish, ColumnWish::Shown(_)));
    let mut columns = if is_named { Vec::new() } else { usual };
    for wish in wishes {
        match wish {
            ColumnWish::Shown(column) => columns.push(*column),
            ColumnWish::Added(column) if columns.contains(column) => {}
            ColumnWish::Added(column) => columns.push(*column),
            ColumnWish::LeftOut(column) => columns.retain(|one| one != column),
        }
    }
    columns
}

/// Returns the columns that a table has unless others are chosen.
pub(super) fn usual(task: Task, groups: &[Group], with_published: bool) -> Vec<Column> {
    let most = groups.iter().map(|group| group.counted(None).len()).max().unwrap_or_default();
    let mut columns = match task {
        Task::Classification => vec![Column::Library, Column::Accuracy, Column::TrainingTime],
        Task::Features => vec![Column::Library, Column::RateGpu, Column::RateCpu],
    };
    // With fewer repeats most rows would share a rank.
    if most >= ENOUGH_FOR_INTERVAL && groups.len() > 1 {
        columns.insert(1, Column::Rank);
    }
    let any = |is: &dyn Fn(&Record) -> bool| {
        groups.iter().flat_map(|group| &group.records).any(|record| is(record))
    };
    if task == Task::Classification {
        columns.push(Column::Cudnn);
    }
    columns.push(Column::Equivalence);
    if with_published {
        columns.extend(match task {
            Task::Classification => [Column::PublishedAccuracy, Column::PublishedTime],
            Task::Features => [Column::PublishedGpu, Column::PublishedCpu],
        });
    }
    if task == Task::Classification {
        columns.extend([Column::Device, Column::Compile]);
    }
    columns.push(Column::PeakMemory);
    if any(&|record| record.cost.peak_device_bytes.is_some()) {
        columns.push(Column::DeviceMemory);
    }
    columns.extend([Column::Data, Column::Version]);
    columns
}

/// Returns the columns that set an old version beside the newest, where both ran.
pub(super) fn then_and_now(task: Task, groups: &[Group], with_published: bool) -> Vec<Column> {
    let mut columns = vec![Column::Library, Column::Year];
    let published: &[Column] = match task {
        Task::Classification => {
            columns.extend([Column::TrainingTime, Column::Now, Column::NowTime]);
            columns.extend([Column::SpeedUp, Column::Device]);
            &[Column::PublishedTime]
        }
        Task::Features => {
            columns.push(Column::Now);
            for [then, now, speed_up] in [
                [Column::RateGpu, Column::NowGpu, Column::SpeedUpGpu],
                [Column::RateCpu, Column::NowCpu, Column::SpeedUpCpu],
            ] {
                if groups.iter().any(|group| then.number(group).is_some()) {
                    columns.extend([then, now, speed_up]);
                }
            }
            &[Column::PublishedGpu, Column::PublishedCpu]
        }
    };
    if with_published {
        columns.extend(published);
    }
    columns.extend([Column::Equivalence, Column::Data]);
    columns
}
