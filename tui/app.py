"""The Textual app: one engine, one cockpit, and how the app starts and quits."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen
from textual.theme import Theme

from data.errors import InputError
from data.files import write_atomically
from data.paths import describe_os_error, quoted_path
from engine.config.changes import format_options
from engine.config.schema import Config
from engine.program import PROGRAM, program
from engine.protocol import Event, Save, State, Unsilence
from engine.runs.folder import CONFIG_FILE, LOG_FILE, typed_name
from tui import EXIT_DONE, EXIT_FAILED, EXIT_SIGNAL
from tui.control.keymap import GROUPS, bindings, display
from tui.control.leaving import Leaving
from tui.control.notifier import TOLD, Notifier
from tui.control.own_presets import config_of_preset, find_preset
from tui.control.preferences import AUTO, KEYS, OF_CHARTS, Preferences
from tui.control.remap import Keymap
from tui.control.run import Launch, RunControl
from tui.screens.cockpit import CockpitScreen
from tui.screens.engine_events import SHOW_ALL_ADVICE, EngineEvent
from tui.screens.keyed import KeyedScreen
from tui.terminal.announce import takes_osc, title
from tui.terminal.clicks import ClicksOnOneScreen
from tui.terminal.clipboard import copy
from tui.terminal.colors import (
    DEPTHS,
    TRUECOLOR,
    LegibleApp,
    correct_colorterm,
    has_light_background,
    is_light,
)
from tui.terminal.driver import TerminalDriver, use_daemon_threads
from tui.terminal.guard import TerminalGuard
from tui.terminal.input import TerminalDecoder, accept_any_bytes
from tui.terminal.keys import KeysInOrder
from tui.terminal.shown import TellsChanges
from tui.terminal.signals import hear_in_thread, ignore_signals
from tui.terminal.stderr import ErrorLog, errors_off_screen, is_gone, screen_descriptor
from tui.terminal.stdout import complain, say, silence
from tui.terminal.visible import protect_screen
from tui.text.notices import FOLDER_GONE, SETTINGS_GONE
from tui.text.numbers import format_loss, format_path
from tui.widgets.chart_widget import ChartWidget
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.option_lists import page_at_any_height

DEFAULT_THEME, LIGHT_THEME = "textual-dark", "textual-light"
TITLE_SECONDS = 5.0
VIEWS_AFTER_SECONDS = 8.0
ATTACHED_SECONDS = 2.0  # until a run that another process trains is on the screen
NO_COMMANDS = ("app.command_palette", "interrupt")  # it is open; the cockpit has it as q
STYLES = Path(__file__).parent / "styles"


class GptTuiApp(ClicksOnOneScreen[int], KeysInOrder[int], TellsChanges[int], LegibleApp[int]):
    """Trains in a background thread and shows it."""

    TITLE = "gpt-tui"
    CSS_PATH = [STYLES / "app.tcss", STYLES / "cockpit.tcss"]
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = bindings("app")

    def __init__(
        self,
        launch: Launch,
        errors: ErrorLog | None = None,
        guard: TerminalGuard | None = None,
        preferences: Preferences | None = None,
    ) -> None:
        super().__init__()
        self.preferences = preferences or Preferences()  # in memory alone
        self.preferences.watch(self._take_preference)
        self._theme_once = launch.theme  # until another one is chosen
        self._is_light = has_light_background()
        self._title = ""  # of the terminal's window
        self._notifier = Notifier(
            self.preferences, self._write_to_terminal, self._complain_from_thread
        )
        protect_screen()
        page_at_any_height()
        self.keymap = Keymap(self.preferences.keys)
        self.control = RunControl(launch, self._post_event, lambda id: self.keymap.first(id))
        self.cockpit = CockpitScreen(self.control)
        self._errors = errors  # where output of native code goes; None leaves it alone
        self._guard = guard  # what restores the terminal if this process cannot
        self.leaves_training = False  # whether it goes on in the background
        self.leaving = Leaving(
            self.control, self._exit_from_thread, guard, lambda: summary(self.control)
        )

    @property
    def _background_screens(self) -> list[Screen[Any]]:
        """The screens that can be seen below the current one.

        Textual 8.2 takes the next one for such a screen whatever covers it, and repaints the
        current one as a whole whenever anything in the covered one changes.
        """
        return [] if self.screen.styles.background.a == 1 else super()._background_screens

    def _take_preference(self, name: str) -> None:
        """Put a preference into effect that is the whole app's."""
        if name == "screen.theme":
            self._theme_once = ""
            self.theme = self._theme_wanted()
        elif name == KEYS:
            self._take_keys()
        elif name in OF_CHARTS:
            for screen in self.screen_stack:
                for chart in screen.query(ChartWidget):
                    chart.take_preference(name, self.preferences.get(name))

    def _remember_theme(self, theme: Theme) -> None:
        """Prefer a theme that was chosen in the command palette from now on."""
        if theme.name == self._theme_wanted():
            return
        try:
            self.preferences.set("screen.theme", theme.name)
        except InputError as error:
            self.notify(f"the theme is not remembered: {error}", severity="warning")

    def _theme_wanted(self) -> str:
        wanted = self._theme_once or self.preferences.get("screen.theme")
        if wanted in self.available_themes:
            return str(wanted)
        return LIGHT_THEME if self._is_light else DEFAULT_THEME

    def _take_background(self, red: int, green: int, blue: int) -> None:
        # called in the thread that reads the terminal, mostly before the first paint
        self._is_light = is_light(red, green, blue)
        with suppress(RuntimeError):  # it has left
            self.call_later(lambda: setattr(self, "theme", self._theme_wanted()))

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text to the clipboard, also in tmux and GNU screen."""
        self._clipboard = text
        if self._driver and not copy(text, self._driver.write):
            self.notify("this is too much for the clipboard of a terminal", severity="warning")

    def get_driver_class(self) -> type[Driver]:
        chosen = super().get_driver_class()  # TEXTUAL_DRIVER names another
        return TerminalDriver if issubclass(TerminalDriver, chosen) else chosen

    def get_default_screen(self) -> Screen[None]:
        return self.cockpit

    def on_mount(self) -> None:
        """Paint first; start the engine and import PyTorch after."""
        self.theme = self._theme_wanted()
        chosen = self.preferences.get("screen.theme")
        problems = list(self.preferences.problems)
        if chosen not in (AUTO, *self.available_themes):
            lists = self.keymap.first("cockpit.preferences")
            problems.append(f"screen.theme: there is no theme {chosen!r}; {lists} lists them")
        self.theme_changed_signal.subscribe(self, self._remember_theme)
        self._take_keys(problems)
        if self._guard:
            hear_in_thread(self._leave_by_signal, self._save_by_signal)
        if not self.is_headless:
            self.set_interval(1.0, self._leave_if_terminal_is_gone)
            self.set_interval(TITLE_SECONDS, self._show_title)
        self.app_resume_signal.subscribe(self, self._take_terminal_back)
        # twice: Textual fills the footer after the first refresh
        self.call_after_refresh(self.call_after_refresh, self._begin)

    def action_redraw(self) -> None:
        """Draw all of the screen anew."""
        self.shown.forget()
        self.refresh(layout=True)

    def _take_terminal_back(self, _: object) -> None:
        self.action_redraw()
        self._title = ""  # the shell has its own meanwhile
        self._show_title()

    def log_to_run(self, run: str, watching: bool) -> None:
        """Append output of native code to this run's log from now on, unless it is only watched."""
        log = Path(run) / LOG_FILE
        if self._errors:
            self._errors.leave() if watching else self._errors.move_to(log)
        if self._guard and watching:
            self._guard.note(message="", log="")
        elif self._guard:
            self._guard.note(message=_after_a_crash(Path(run)), log=str(log))

    def _begin(self) -> None:
        self.control.begin()
        if told := self.preferences.unknown_charts():  # by now numpy is loaded
            before = self.cockpit.notice.text  # other problems of the preferences
            self.cockpit.say(f"{before}\n{told}".strip())
        if self.control.launch.lesson is not None:
            self.cockpit.action_lecture(self.control.launch.lesson)
        if self.control.launch.attaches:
            self.set_timer(ATTACHED_SECONDS, gc.enable)
            self.set_timer(VIEWS_AFTER_SECONDS, partial(_in_thread, self._prepare_screens))
        else:  # PyTorch first: training waits for it
            _in_thread(_import_heavy_modules, self._prepare_screens)

    def _prepare_screens(self) -> None:
        """Load the inside of a model and all styles, before the keys that need them are pressed."""
        with suppress(RuntimeError, ImportError):
            import engine.inspect.views  # noqa: F401
            import tui.screens.inside  # noqa: F401

            if not self.is_headless:
                self.call_later(self._read_styles)

    def _read_styles(self) -> None:
        """Parse the styles of all screens.

        Textual parses those of all widgets again when a screen brings a file of its own.
        """
        for file in sorted(STYLES.glob("*.tcss")):
            if not self.stylesheet.has_source(str(file)):
                self.stylesheet.read(file)
        self.stylesheet.parse()

    def _post_event(self, event: Event) -> None:
        # called in the engine's thread
        self.cockpit.post_message(EngineEvent(event))
        if isinstance(event, TOLD):
            self.call_later(self._tell, event)

    def _tell(self, event: Event) -> None:
        """Tell of an event in a notification, and of the state in the title."""
        status, run = self.control.status, self.control.run_path
        self._notifier.take(event, status, run.name if run else "", away=not self.app_focus)
        self._show_title()

    def _show_title(self) -> None:
        """Say in the terminal's title what a window in the background is asked for."""
        status, run = self.control.status, self.control.run_path
        parts = [run.name if run else "gpt-tui", str(status.state)]
        if status.step:
            parts.append(f"step {status.step:,} of {status.total_steps:,}")
            parts.append(f"loss {format_loss(status.train_loss)}")
        text = " · ".join(parts)
        if text != self._title and not self.is_headless and takes_osc():
            self._title = text
            self._write_to_terminal(title(text))

    def _write_to_terminal(self, text: str) -> None:
        if self._driver:
            self._driver.write(text)
            self._driver.flush()

    def _complain_from_thread(self, problem: str) -> None:
        with suppress(RuntimeError):  # it has left
            self.call_later(self.notify, problem, severity="warning")

    # -- keys ------------------------------------------------------------------------------------

    def _take_keys(self, problems: Sequence[str] = ()) -> None:
        """Take over the keys of the preferences; say which cannot be, and other problems."""
        self.keymap = Keymap(self.preferences.keys)
        self.set_keymap(self.keymap.changes)
        if told := [*problems, *self.keymap.problems]:  # at the start the cockpit is not built yet
            self.call_after_refresh(self.cockpit.say, "\n".join(told))

    def get_key_display(self, binding: Binding) -> str:
        return display(binding.key)

    def action_command_palette(self) -> None:
        from tui.screens.palette import Palette  # not for the first paint

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_help(self) -> None:
        from tui.screens.help import TextScreen, help_screen

        if not isinstance(self.screen, TextScreen):
            self.push_screen(help_screen(self.screen, self.keymap))

    async def _check_bindings(self, key: str, priority: bool = False) -> bool:
        if priority:  # each key is asked about twice; this comes first
            self._take_message_away()
        if await super()._check_bindings(key, priority):
            return True
        if not priority and (why := self._why_not(key)):
            if self.screen is self.cockpit and self.cockpit.keep_key(key, why):
                self.notify(f"{display(key)} takes effect once the run is open")
            else:
                self.screen.notify(why, severity="warning")
        elif not priority and len(display(key)) == 1:  # neither a widget nor an action has it
            lists = self.keymap.first("app.help")
            self.screen.notify(f"{display(key)} is no key here: {lists} lists them")
        return False

    def notify(self, message: str, **options: Any) -> None:
        """Show a message of the app, or of Textual, in the footer of the screen."""
        if isinstance(self.screen, KeyedScreen):
            self.screen.notify(message, **options)
        else:
            super().notify(message, **{**options, "markup": False})

    def deliver_screenshot(
        self, filename: str | None = None, path: str | None = None, time_format: str | None = None
    ) -> str | None:
        """Write a picture of the screen into the run's folder, else the current one; say where."""
        run = self.control.folder_for_files
        own = run if run and run.is_dir() else Path.cwd()  # it may have been deleted
        folder = Path(path) if path else own
        name = filename or time.strftime(time_format or "screen-%Y-%m-%d-%H%M%S.svg")
        try:
            write_atomically(folder / name, self.export_screenshot().encode())
        except OSError as error:
            error.filename = error.filename or str(folder / name)
            self.notify(f"no screenshot: {describe_os_error(error)}", severity="error")
            return None
        self.notify(f"screenshot: {format_path(folder / name)}", timeout=15)
        return str(folder / name)

    def _take_message_away(self) -> None:
        for footer in self.screen.query(KeysFooter):
            footer.say("") if footer.message else None

    def _why_not(self, key: str) -> str:
        """Return why a key does nothing now; empty if nothing has that key."""
        for node, keys in self.screen._modal_binding_chain:
            # of several actions the last is the one that is least often possible
            for binding in reversed(keys.key_to_bindings.get(key, ())):
                target, action, parameters = self._parse_action(binding.action, node)
                if isinstance(target, KeyedScreen) and (why := target.why_not(action, parameters)):
                    return why
        return ""

    # -- leaving ---------------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Quit; ask first if that would lose training steps."""
        from tui.screens.dialogs import QuitDialog

        if isinstance(self.screen, QuitDialog) or self.leaving.code is not None:
            return
        if self._keeps_training:
            self._leave_as_answered("leave")
        else:
            self._ask_before_leaving()

    @property
    def _keeps_training(self) -> bool:
        """Whether to quit is to leave the run in training in the background."""
        preferred = bool(self.preferences.get("screen.keep_training"))
        return preferred and self.control.is_training_here

    def _ask_before_leaving(self) -> None:
        from tui.screens.dialogs import QuitDialog

        if self.control.has_unsaved_steps:
            run = self.control.run_path
            dialog = QuitDialog(
                lambda: self.control.status, lambda: run is not None and not run.exists()
            )
            self.push_screen(dialog, self._leave_as_answered)
        else:
            self._leave(save=True, code=EXIT_DONE)

    def action_interrupt(self) -> None:
        """Ask to quit; a second Ctrl-C saves and quits."""
        from tui.screens.dialogs import QuitDialog

        if isinstance(self.screen, QuitDialog):
            self.screen.action_answer("save")
        elif self.leaving.code is None:
            self._ask_before_leaving()

    def _leave_as_answered(self, answer: str | None) -> None:
        self.leaves_training = answer == "leave"
        if answer in ("save", "now", "leave"):
            self._leave(save=answer != "now", code=EXIT_DONE)

    def _leave_by_signal(self) -> None:
        if is_gone(sys.__stdin__) and self._keeps_training:
            self.leaves_training = True
        self._leave(save=True, code=EXIT_SIGNAL)

    def _save_by_signal(self) -> None:
        if self.control.is_open:
            self.control.send(Save())

    def _leave_if_terminal_is_gone(self) -> None:
        # only a terminal that controls the process sends it a signal, and 'setsid gpt-tui' has none
        if is_gone(sys.__stdin__):
            self._leave_by_signal()

    def _leave(self, save: bool, code: int) -> None:
        # also called in the thread that hears signals
        if self.leaving.begin(save, code):
            told = "saving …" if save else "closing …"
            self.call_later(self.cockpit.notice.say, told, "information")

    def _exit_from_thread(self, code: int) -> None:
        with suppress(RuntimeError):  # it has left by itself
            self.call_later(self.exit, code)

    # -- command palette -------------------------------------------------------------------------

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Yield the log, the cockpit's keys, and Textual's own commands."""
        yield SystemCommand(
            "Show log", "What PyTorch and other native code printed", self._show_log
        )
        if isinstance(screen, KeyedScreen):
            for name in (screen.KEYS, "app"):
                yield from self._commands_of(screen, name)
        if screen is self.cockpit and self.control.is_open:
            yield SystemCommand(
                SHOW_ALL_ADVICE,
                "Show all kinds of advice again that were hidden in this run",
                lambda: self.control.send(Unsilence()),
            )
        for command in super().get_system_commands(screen):
            if command.title != "Quit":  # ours asks first
                yield command

    def _commands_of(self, screen: KeyedScreen[Any], name: str) -> Iterator[SystemCommand]:
        """Yield what the keys of a group would do now, with the keys."""
        for key in GROUPS[name].keys:
            for action, label in ((key.action, key.label), *key.others):
                if self._is_possible(screen, action) and action not in NO_COMMANDS:
                    help = f"{self.keymap.shown(name, key)} · {key.help}"
                    yield SystemCommand(label, help, partial(self._run, screen, action))
                    break

    def _is_possible(self, screen: KeyedScreen[Any], action: str) -> bool:
        target, name, parameters = self._parse_action(action, screen)
        return not isinstance(target, KeyedScreen) or not target.why_not(name, parameters)

    async def _run(self, screen: KeyedScreen[Any], action: str) -> None:
        if screen is self.cockpit:
            self.cockpit.leave_all_fields()  # in a field the keys are letters
        await self.run_action(action, screen if "." not in action.partition("(")[0] else self)

    def _show_log(self) -> None:
        from rich.text import Text

        from tui.screens.help import TextScreen

        path = self._errors.path if self._errors else None
        try:
            text = self._errors.text() if self._errors else ""
        except OSError as error:
            text = describe_os_error(error)
        title = f"log · {format_path(path)}" if path else "log"
        self.push_screen(TextScreen(title, Text(text or "nothing was written")))


def run_app(launch: Launch) -> int:
    """Run the app until the user quits; return the exit code."""
    correct_colorterm()
    accept_any_bytes()
    use_daemon_threads()
    guard = TerminalDriver.guard = TerminalGuard(screen_descriptor())
    try:
        return _run(launch, guard)
    finally:
        ignore_signals()
        guard.close()


def _run(launch: Launch, guard: TerminalGuard) -> int:
    with errors_off_screen() as errors:
        app = GptTuiApp(launch, errors, guard, Preferences.load())
        TerminalDecoder.on_background = app._take_background
        TerminalDriver.ask_background = True
        app.use_colors(DEPTHS.get(app.console.color_system or "", TRUECOLOR))
        try:
            code = app.run()
        finally:
            app.leaving.begin(save=True, code=EXIT_FAILED)
            saved = app.leaving.wait()
    app.leaving.goodbye = str  # it is said here
    if code is None:  # it crashed, perhaps because its terminal is gone
        code = app.leaving.code or EXIT_FAILED
        _print_error(app, errors)
    run = app.control.run_path
    if run and app.control.facts.name and not run.is_dir():
        complain(FOLDER_GONE.format(run))
        return EXIT_FAILED
    if run and app.control.facts.name and not (run / CONFIG_FILE).exists():
        complain(SETTINGS_GONE.format(run / CONFIG_FILE, program(), typed_name(run)))
    if not saved:
        _print_summary(app.control)
        complain("the run could not be closed in time")
        return EXIT_FAILED
    if app.leaves_training and run and app.control.facts.name:
        app.leaving.stay()
        return _train_on(run)
    _print_summary(app.control)
    return code


def _train_on(run: Path) -> int:
    """Go on with the run in a process of its own."""
    from tui.control.detaching import train_detached

    try:
        train_detached(["--resume", str(run)])
    except InputError as error:
        complain(str(error))
        return EXIT_FAILED
    return EXIT_DONE


def _print_error(app: GptTuiApp, errors: ErrorLog) -> None:
    # the traceback is in the log: Python writes to descriptor 2, too
    error = app._exception
    if error is None:
        return
    details = f"details are in {format_path(errors.path)}" if errors.path else errors.text()
    say(f"gpt-tui failed: {type(error).__name__}: {error}\n{details}")


def summary(control: RunControl) -> str:
    """Return the state of the run, and the commands to continue."""
    lines = []
    status, draft = control.status, control.draft
    if control.run_path and control.facts.name:
        run = control.run_path
        state = "seen read-only" if control.watching else str(status.state)
        if control.attached:
            state = f"left to {control.attached}"
        lines.append(
            f"run {run.name}: {state}, step {status.step:,} of {status.total_steps:,}, "
            f"val {format_loss(status.val_loss)}, best {format_loss(status.best_val_loss)}"
        )
        lines.append(f"  kept in  {control.elsewhere or format_path(run)}")
        done = status.state is State.FINISHED or control.watching
        verb = "attach" if control.attached else "open" if done else "continue"
        there = control.launch.elsewhere if control.elsewhere else None
        name = there.typed if there else typed_name(run)
        again = f"attach {name}" if control.attached else name
        lines.append(f"  {verb:<9}{program()} {again}")
        again = f"{program()} --config {quoted_path(run / CONFIG_FILE)}"
    else:
        again = program() + control.launch.command_line.removeprefix(PROGRAM)
        if draft.base != control.launch.config:  # a preset was chosen instead
            preset = find_preset(draft.base.preset)
            own = draft.base.differences(config_of_preset(preset) if preset else Config())
            options = format_options({key: pair[0] for key, pair in own.items()})
            again = f"{program()} --preset {draft.base.preset} {options}".rstrip()
    if draft.waiting or (control.run_path is None and draft.base != control.launch.config):
        lines.append(f"  settings not used yet: {again} {format_options(draft.waiting)}".rstrip())
    return "\n".join(lines)


def _print_summary(control: RunControl) -> None:
    text = summary(control)
    try:
        print(text, flush=True) if text else None
    except OSError:  # the terminal is gone; the run is saved
        silence(sys.stdout)


def _after_a_crash(run: Path) -> str:
    return (
        f": the run is whole up to its newest checkpoint, and {program()} {typed_name(run)} "
        f"continues it; details, if there are any, are in {format_path(run / LOG_FILE)}"
    )


def _in_thread(*imports: Callable[[], None]) -> None:
    """Do some work in a thread, one piece after the other."""

    def work() -> None:
        for one in imports:
            one()

    threading.Thread(target=work, name="imports", daemon=True).start()


def _import_heavy_modules() -> None:
    """Import PyTorch and numpy while the user reads the first screen."""
    try:
        with suppress(RuntimeError, ImportError):  # the program ends; else the engine tells
            import engine.session.session  # noqa: F401
            import tui.charts.chart  # noqa: F401
    finally:
        gc.enable()  # as launching the app disabled it
