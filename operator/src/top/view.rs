//! Pure: a snapshot on a screen, and what keys do.

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Table, TableState};

use super::snapshot::{COLUMNS, Snapshot, cells};

/// Banks that Page Up and Page Down move by.
const PAGE: usize = 10;

/// What a person has done to the view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The bank that is looked at, counted from the top.
    pub selected: usize,
    /// Why the last question was not answered; what is shown is older then.
    pub failed: Option<String>,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing but another picture.
    Draw,
    /// The hub is to be asked now.
    Refresh,
    /// The end.
    Leave,
}

impl View {
    /// What `key` does to a view of so many banks.
    pub fn press(&mut self, key: KeyEvent, banks: usize) -> Asked {
        if key.kind == KeyEventKind::Release {
            return Asked::Draw;
        }
        let last = banks.saturating_sub(1);
        match (key.code, key.modifiers) {
            // A terminal in raw mode sends no signal.
            (KeyCode::Char('c'), KeyModifiers::CONTROL) | (KeyCode::Char('q') | KeyCode::Esc, _) => {
                return Asked::Leave;
            }
            (KeyCode::Char('r'), _) => return Asked::Refresh,
            (KeyCode::Down | KeyCode::Char('j'), _) => self.selected = last.min(self.selected + 1),
            (KeyCode::Up | KeyCode::Char('k'), _) => self.selected = self.selected.saturating_sub(1),
            (KeyCode::PageDown, _) => self.selected = last.min(self.selected + PAGE),
            (KeyCode::PageUp, _) => self.selected = self.selected.saturating_sub(PAGE),
            (KeyCode::Home, _) => self.selected = 0,
            (KeyCode::End, _) => self.selected = last,
            _ => {}
        }
        Asked::Draw
    }
}

/// Draws the picture.
pub fn render(frame: &mut Frame<'_>, snapshot: &Snapshot, view: &View) {
    let lines: Vec<Line<'_>> = snapshot.lines().into_iter().map(Line::from).collect();
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let [hub, banks, foot] =
        Layout::vertical([Constraint::Length(height), Constraint::Min(3), Constraint::Length(1)])
            .areas(frame.area());
    let colour = if snapshot.is_bad() { Color::Red } else { Color::Reset };
    let block = Block::bordered().title(" cardquery ").border_style(Style::new().fg(colour));
    frame.render_widget(Paragraph::new(lines).block(block), hub);

    let rows = snapshot.banks.banks.iter().map(|bank| {
        let style = match (&bank.paused, bank.answer_rate) {
            (Some(_), _) => Style::new().fg(Color::Yellow),
            (None, Some(rate)) if rate < 0.5 => Style::new().fg(Color::Red),
            (None, Some(_) | None) => Style::new(),
        };
        Row::new(cells(bank)).style(style)
    });
    let widths = [16, 17, 8, 7, 7, 7, 7, 8, 8, 7, 8].map(Constraint::Length);
    let title =
        format!(" {} banks, the worst first, since {} ", snapshot.banks.banks.len(), snapshot.banks.since);
    let table = Table::new(rows, widths)
        .header(Row::new(COLUMNS).style(Style::new().add_modifier(Modifier::BOLD)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::bordered().title(title));
    let mut state = TableState::new().with_selected(view.selected);
    frame.render_stateful_widget(table, banks, &mut state);

    let foot_line = match &view.failed {
        Some(failed) => Line::from(format!(" not refreshed: {failed}")).style(Style::new().fg(Color::Red)),
        None => Line::from(" arrows move  r asks now  q leaves"),
    };
    frame.render_widget(foot_line, foot);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::snapshot::tests::snapshot;
    use super::*;

    /// The picture as lines of text.
    fn drawn(snapshot: &Snapshot, view: &View, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(120, height)).expect("a terminal");
        terminal.draw(|frame| render(frame, snapshot, view)).expect("drawn");
        let buffer = terminal.backend().buffer();
        (0..height)
            .map(|y| (0..120).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned())
            .collect()
    }

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn a_picture_has_the_hub_above_the_banks_and_the_worst_bank_on_top() {
        let lines = drawn(&snapshot(), &View::default(), 20);
        let at = |text: &str| {
            lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {lines:#?}"))
        };
        assert!(at("7 collecting, oldest 5h07m") < at("outbox   1 waiting, 0 parked"));
        assert!(at("4 banks, the worst first") < at("BANK"));
        assert!(at("BANK") < at("bad") && at("bad") < at("slow") && at("good") < at("new"));
        assert!(lines[at("bad")].contains("25.0%"), "{lines:#?}");
        assert!(lines[at("new")].contains("n/a"), "{lines:#?}");
        assert!(at("q leaves") == 19);
    }

    #[test]
    fn a_small_screen_shows_the_bank_that_is_looked_at() {
        let mut view = View::default();
        assert!(!drawn(&snapshot(), &view, 13).iter().any(|line| line.contains("new ")));
        assert_eq!(view.press(key(KeyCode::End), 4), Asked::Draw);
        assert!(drawn(&snapshot(), &view, 13).iter().any(|line| line.contains("new ")));
    }

    #[test]
    fn a_hub_that_does_not_answer_is_told_below_what_is_old() {
        let view = View { failed: Some("the hub does not answer".to_owned()), ..View::default() };
        let lines = drawn(&snapshot(), &view, 20);
        assert!(lines[19].contains("not refreshed: the hub does not answer"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("7 collecting")));
    }

    #[test]
    fn keys_move_within_the_banks_and_both_ways_of_leaving_leave() {
        let mut view = View::default();
        for (code, selected) in [
            (KeyCode::Up, 0),
            (KeyCode::Down, 1),
            (KeyCode::PageDown, 3),
            (KeyCode::Down, 3),
            (KeyCode::PageUp, 0),
            (KeyCode::End, 3),
            (KeyCode::Home, 0),
        ] {
            assert_eq!(view.press(key(code), 4), Asked::Draw);
            assert_eq!(view.selected, selected, "{code:?}");
        }
        assert_eq!(view.press(key(KeyCode::Down), 0), Asked::Draw);
        assert_eq!(view.selected, 0, "there is no bank");
        assert_eq!(view.press(key(KeyCode::Char('r')), 4), Asked::Refresh);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for leaving in [key(KeyCode::Char('q')), key(KeyCode::Esc), control_c] {
            assert_eq!(view.press(leaving, 4), Asked::Leave);
        }
    }
}
