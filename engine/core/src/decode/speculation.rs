//! Guesses that the next tick has the shape of an earlier one, and decides when a guess is worth it.
//!
//! Ticks of one producer have the same bytes between their values. The last few [shapes](Shape) are kept, and the one
//! that fitted last is tried first. If none fits for a while, guessing pauses, each time for longer. So a producer that
//! writes its keys in random order costs no more than parsing. This file does *not* own how bodies are taken apart.

use super::shape::{Dialect, Draft, Miss, Shape};
use super::tokens::Tokens;
use super::unreadable::Unreadable;
use crate::tick::Tick;

/// How many shapes are tried. Optional fields give the ticks of one producer several shapes.
const SHAPES_MAX: usize = 4;

/// Guessing pauses after this many ticks in a row without a known shape.
const STRIKES_MAX: u32 = 8;

/// How many ticks a pause lasts, at first and at most.
const PAUSE_MIN: usize = 64;
const PAUSE_MAX: usize = 1 << 16;

/// Shapes and spellings that one decoder has learnt.
#[derive(Debug)]
pub(super) struct Speculation {
    dialect: Dialect,
    shapes: Vec<Shape>,
    tokens: Tokens,
    strikes: u32,
    pause: usize,
    /// How long the next pause will be.
    next_pause: usize,
    #[cfg(test)]
    guesses: (usize, usize),
}

impl Speculation {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            shapes: Vec::with_capacity(SHAPES_MAX),
            tokens: Tokens::default(),
            strikes: 0,
            pause: 0,
            next_pause: PAUSE_MIN,
            #[cfg(test)]
            guesses: (0, 0),
        }
    }

    #[cfg(test)]
    pub(super) fn guesses(&self) -> (usize, usize) {
        self.guesses
    }

    /// Whether a guess may be worth it.
    pub(super) fn is_awake(&self) -> bool {
        self.pause == 0
    }

    /// Counts ticks that were decoded during a pause.
    pub(super) fn sleep(&mut self, ticks: usize) {
        self.pause = self.pause.saturating_sub(ticks);
    }

    /// If the tick at `at` of the padded `text` has a known shape, reads it into `draft`, and returns where it ends.
    #[inline]
    pub(super) fn read(&mut self, text: &[u8], at: usize, one_line: bool, draft: &mut Draft) -> Option<usize> {
        let read =
            self.read_by_first(text, at, one_line, draft).or_else(|| self.read_by_others(text, at, one_line, draft));
        #[cfg(test)]
        {
            self.guesses.0 += usize::from(read.is_some());
        }
        read
    }

    #[inline]
    fn read_by_first(&mut self, text: &[u8], at: usize, one_line: bool, draft: &mut Draft) -> Option<usize> {
        let first = self.shapes.first().filter(|first| !(one_line && first.spans_lines()))?;
        let end = first.read(&self.tokens, text, at, draft).ok()?;
        self.strikes = 0;
        Some(end)
    }

    #[cold]
    fn read_by_others(&mut self, text: &[u8], at: usize, one_line: bool, draft: &mut Draft) -> Option<usize> {
        let mut strikes = 1;
        for index in 0..self.shapes.len() {
            let shape = &self.shapes[index];
            if one_line && shape.spans_lines() {
                continue;
            }
            match shape.read(&self.tokens, text, at, draft) {
                Ok(end) => {
                    self.shapes[..=index].rotate_right(1);
                    self.strikes = 0;
                    return Some(end);
                }
                // A new name says nothing about the shape.
                Err(Miss::Token) => strikes = 0,
                Err(Miss::Shape) => {}
            }
        }
        self.strike(strikes);
        None
    }

    fn strike(&mut self, strikes: u32) {
        self.strikes += strikes;
        if self.strikes >= STRIKES_MAX {
            self.pause = self.next_pause;
            self.next_pause = (2 * self.next_pause).min(PAUSE_MAX);
            self.strikes = 0;
        }
    }

    /// Takes back the last miss, because it was an event that is not a tick. It says nothing about the shapes of ticks.
    pub(super) fn excuse(&mut self) {
        self.strikes = self.strikes.saturating_sub(1);
    }

    /// Learns from `text`. simd-json has made `tick` of it. During a pause nothing is learnt, because that would cost
    /// more than it saves. Spellings are never forgotten. So they are learnt only if the table of names `keeps` all
    /// names of the tick.
    pub(super) fn learn(&mut self, text: &[u8], tick: &Tick, unreadable: Unreadable, keeps: bool) {
        if !self.is_awake() {
            return;
        }
        #[cfg(test)]
        {
            self.guesses.1 += 1;
        }
        let Some(lesson) = Shape::learn(text, &self.dialect, unreadable) else { return };
        if !(keeps && lesson.teach(&mut self.tokens, tick)) {
            // A name that stays new for ever costs as much as another shape.
            self.strike(1);
        }
        if self.shapes.contains(&lesson.shape) {
            // The shape has proven itself, so the next pause begins short.
            self.next_pause = PAUSE_MIN;
            return;
        }
        self.shapes.truncate(SHAPES_MAX - 1);
        self.shapes.insert(0, lesson.shape);
    }
}
