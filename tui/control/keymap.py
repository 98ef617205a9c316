"""Every key of the app, once: dispatch, footer, help, palette and docs/keys.md are made from it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from textual.binding import Binding, BindingType
from textual.keys import format_key


class Key(Struct, frozen=True):
    """A key, or several, and what they do.

    Args:
        name: In the preferences, after the name of its screen.
        keys: Default keys, by Textual's names, with commas between them.
        action: Is called, on the screen or the widget that has the key.
        label: In the footer and the palette.
        help: One sentence.
        footer: Whether the footer offers it.
        priority: Whether it comes before the keys of the focused widget, as of a field.
        others: Further actions of these keys, with their labels: the first that is possible runs.
    """

    name: str
    keys: str
    action: str
    label: str
    help: str
    footer: bool = False
    others: tuple[tuple[str, str], ...] = ()
    priority: bool = False


class Group(Struct, frozen=True):
    """The keys of a screen, or of the widgets of a kind."""

    title: str
    keys: tuple[Key, ...]
    modal: bool = False  # keys of the app do not reach it, so it has that for help itself


HELP = Key("help", "question_mark,f1", "app.help", "Help",
           "explain what has the focus, and list all keys (F1 also while typing)",
           footer=True)  # fmt: skip
BACK_KEYS = "escape,q"

GROUPS: dict[str, Group] = {
    "app": Group(
        "Everywhere",
        (
            HELP,
            Key("palette", "ctrl+p", "app.command_palette", "Commands",
                "the command palette: every command by its name, the log, themes"),
            Key("redraw", "ctrl+l", "redraw", "Redraw",
                "draw the screen anew, if another program has written to the terminal"),
            Key("quit", "ctrl+c,ctrl+q", "interrupt", "Quit",
                "quit; again in the question that follows: save and quit"),
            Key("suspend", "ctrl+z", "suspend_process", "Suspend",
                "suspend the program; fg in the shell continues it"),
        ),
    ),
    "cockpit": Group(
        "Cockpit",
        (
            Key("train", "space", "start", "Start", "start training, pause it, resume it",
                footer=True, others=(("pause", "Pause"), ("resume", "Resume"))),
            Key("take_control", "G", "take_control", "Take control",
                "of a run that another process trains: take control from whoever has it",
                footer=True),
            Key("step", "full_stop", "step", "Step", "while paused: take a single step"),
            Key("sample", "s", "sample", "Sample", "generate a text with the weights of this step",
                footer=True),
            Key("prompt", "p", "prompt", "Prompt",
                "edit prompt, temperature and top-k; enter samples, esc goes back"),
            Key("inside", "i", "inside", "Inside",
                "look inside the model: attention, predictions, surprise, layers, health",
                footer=True),
            Key("earlier", "left_square_bracket", "earlier", "Earlier sample", "previous sample"),
            Key("later", "right_square_bracket", "later", "Later sample", "next sample"),
            Key("four_samples", "S", "sample(4)", "Four samples", "generate four texts at once"),
            Key("continue_text", "greater_than_sign", "continue_text", "Go on",
                "go on from where the text ends"),
            Key("stop_text", "k", "stop_text", "Stop text",
                "end the text that is being generated, and keep what it has so far"),
            Key("probe", "P", "keep_probe", "Probe",
                "sample this prompt after each evaluation, too; or no longer"),
            Key("shade", "o", "shade", "Odds",
                "shade each character by its probability, then by its rank, then not"),
            Key("text_up", "pageup", "scroll_text(-1)", "Text up", "scroll the text a page up"),
            Key("text_down", "pagedown", "scroll_text(1)", "Text down",
                "scroll the text a page down"),
            Key("text_start", "ctrl+home", "text_start", "Start of text", "to the start of the"
                " text"),
            Key("text_end", "ctrl+end", "text_end", "End of text", "to the end of the text"),
            Key("full_text", "F,f11", "full_text", "Full text",
                "the text alone on the screen, or everything again"),
            Key("token_before", "left,h", "move_in_text(-1, 0)", "Left",
                "the chart's cursor; the token before, while characters are shaded"),
            Key("token_after", "right,l", "move_in_text(1, 0)", "Right",
                "the chart's cursor; the token after, while characters are shaded"),
            Key("line_up", "up", "move_in_text(0, -1)", "Line up", "scroll the text a line up"),
            Key("line_down", "down", "move_in_text(0, 1)", "Line down",
                "scroll the text a line down"),
            Key("copy_text", "C", "copy_text", "Copy text", "copy the text to the clipboard"),
            Key("save_text", "W", "save_text", "Save text",
                "write the text to a file in the folder of the run"),
            Key("settings", "e", "edit", "Settings", "edit the settings; enter changes one, esc"
                " goes back", footer=True),
            Key("undo", "u", "undo", "Undo",
                "undo the last change of a setting; again: the one before"),
            Key("new_run", "n", "new_run", "New run",
                "start a new run with the edited settings; the old one is kept", footer=True),
            Key("timeline", "t,b", "timeline", "Timeline",
                "metrics and text of any step; go back to it, fork from it or sample from it",
                footer=True),
            Key("fork", "B", "fork", "Fork",
                "branch: start another run from this step; this one is kept"),
            Key("runs", "r", "runs", "Runs",
                "all runs: open, compare, filter, tag, rename, delete", footer=True),
            Key("add_to_queue", "a", "add_to_queue", "Add to queue",
                "queue the edited settings, as one run or with several values"),
            Key("queue", "Q", "show_queue", "Queue",
                "the queue: which runs are to come, and which one is the best"),
            Key("hold_queue", "H", "hold_queue", "Hold queue",
                "hold the queue, so that no queued run starts by itself, or release it"),
            Key("lr_finder", "T", "test_rates", "Test rates",
                "find a learning rate: a short training with a rising rate"),
            Key("evaluate", "v", "evaluate", "Evaluate", "measure the validation loss now"),
            Key("checkpoint", "c,w", "save", "Checkpoint", "write a checkpoint now"),
            Key("cool_down", "d", "cool_down", "Cool down",
                "with a wsd or constant schedule: start the cool-down now; the run ends with it"),
            Key("scale", "y", "cycle_range", "Scale",
                "losses: what matters, everything, everything on a logarithmic axis"),
            Key("log", "ctrl+y", "toggle_log", "Log", "logarithmic losses on or off"),
            Key("smooth", "m", "toggle_smooth", "Smooth",
                "the running average of the training loss on or off"),
            Key("zoom", "z", "toggle_window", "Zoom", "the whole run, or its last fifth"),
            Key("less_smooth", "left_curly_bracket", "smooth(-1)", "Less smooth",
                "smooth the training loss less"),
            Key("smoother", "right_curly_bracket", "smooth(1)", "Smoother",
                "smooth the training loss more, up to 0.99"),
            Key("limits", "Z", "type_limits", "Limits",
                "type the ends of the axes: 2..3.5, 2.., step 100..500; auto chooses them again"),
            Key("unit", "x", "next_unit", "Axis",
                "the loss over steps, tokens, epochs, time or FLOPs"),
            Key("log_x", "K", "toggle_log_x", "Log x", "a logarithmic horizontal axis on or off"),
            Key("references", "R", "toggle_references", "References",
                "lines to compare with: the best earlier run, published losses, bigram, ln V"),
            Key("zoom_in", "plus,equals_sign", "zoom(1)", "Zoom in",
                "zoom in at the cursor, or at the end; as the mouse wheel does"),
            Key("zoom_out", "minus", "zoom(-1)", "Zoom out", "zoom out"),
            Key("fit", "0", "fit", "Fit", "show the whole run again"),
            Key("follow", "f", "follow", "Follow",
                "a zoomed chart moves along with the end of the run, or stays"),
            Key("pan_left", "comma", "pan(-1)", "Pan left",
                "move a zoomed chart to the left; dragging it does so, too"),
            Key("pan_right", "semicolon", "pan(1)", "Pan right", "move a zoomed chart to the"
                " right"),
            Key("cursor_left", "shift+left", "move_cursor(-10)", "Cursor left", "ten columns to"
                " the left"),
            Key("cursor_right", "shift+right", "move_cursor(10)", "Cursor right", "ten columns to"
                " the right"),
            Key("no_cursor", "backspace", "clear_cursor", "No cursor", "take the cursor away"),
            Key("export", "E", "export_chart", "Export",
                "write what the chart shows to the run's folder, as SVG and CSV"),
            Key("charts", "g", "toggle_grid", "All charts", "all charts, or the loss alone"),
            Key("next_chart", "j", "next_chart(1)", "Next chart", "select the next chart"),
            Key("previous_chart", "J", "next_chart(-1)", "Previous chart",
                "select the chart before"),
            Key("maximise", "enter", "maximise", "Maximise",
                "show the selected chart alone, or all again"),
            Key("filter_charts", "slash", "filter_charts", "Filter charts",
                "show only charts whose name has some words"),
            Key("chart_later", "shift+down", "move_chart(1)", "Chart later",
                "move the selected chart behind the next one"),
            Key("chart_sooner", "shift+up", "move_chart(-1)", "Chart sooner",
                "move the selected chart before the one before"),
            Key("hide_chart", "delete", "hide_chart", "Hide chart", "hide the selected chart"),
            Key("all_charts", "A", "all_charts", "Reset charts",
                "show hidden charts again, in the usual order"),
            Key("follow_advice", "Y", "follow_advice", "Follow advice",
                "do what the advice at the top says", footer=True),
            Key("silence_advice", "X", "silence_advice", "Never again",
                "hide this kind of advice for the rest of this run"),
            Key("hide", "escape", "stop_going_back", "Stop going back",
                "stop going back; hide the message at the top; then show everything again",
                footer=True, others=(("dismiss_notice", "Hide"),
                                     ("leave_full_text", "Everything"),
                                     ("show_this_run", "This run"),
                                     ("leave_projector", "Everything"),
                                     ("leave_chart", "All charts"))),
            Key("panels", "backslash", "next_layout", "Panels",
                "hide the settings, the text or both, or show them again"),
            Key("narrower", "ctrl+right", "resize_settings(-4)", "Narrower",
                "make the settings narrower, and the chart wider"),
            Key("wider", "ctrl+left", "resize_settings(4)", "Wider",
                "make the settings wider, and the chart narrower"),
            Key("higher", "ctrl+down", "resize_chart(5)", "Higher",
                "make the chart higher, and the text lower"),
            Key("lower", "ctrl+up", "resize_chart(-5)", "Lower",
                "make the chart lower, and the text higher"),
            Key("projector", "V,f5", "projector", "Projector",
                "for a projector: the chart and the text alone, large strokes, high contrast"),
            Key("data", "D", "data", "Data",
                "the text: what is in it, its tokens, the batches of it; choose another one"),
            Key("preferences", "O", "preferences", "Preferences",
                "the preferences: theme, panels, charts, notifications, folders"),
            Key("lecture", "L", "lecture", "Lecture",
                "the lecture's models, from bigram to GPT: explained, with their code, trained by"
                " a key", footer=True),
            Key("presets", "ctrl+o,N", "presets", "Presets",
                "the presets and the lecture's models: take one for the next run, save your own",
                footer=True),
            Key("quit", "q", "app.leave", "Quit", "quit; during training it asks what to do",
                footer=True),
        ),
    ),
    "settings": Group(
        "List of settings",
        (
            Key("edit", "enter", "select", "Change",
                "change the setting, or fold a group", footer=True),
            Key("down", "down,j", "cursor_down", "Down", "next row"),
            Key("up", "up,k", "cursor_up", "Up", "previous row"),
            Key("first", "home,g", "first", "First", "first row"),
            Key("last", "end,G", "last", "Last", "last row"),
            Key("page_down", "pagedown", "page_down", "Page down", "a page down"),
            Key("page_up", "pageup", "page_up", "Page up", "a page up"),
            Key("reset", "backspace,delete", "reset", "Reset",
                "show the values of the run, the preset and the default, to go back to one",
                footer=True),
            Key("search", "slash", "search", "Search",
                "show only settings with these words in name or help", footer=True),
            Key("which_run", "w", "show_other_run", "Other run",
                "show the settings of the next run, or of this one again", footer=True),
            Key("differences", "d", "show_differences", "Differences",
                "show only what differs from the last runs; then from the preset; then all",
                footer=True),
            Key("fold", "left,h", "fold", "Fold", "fold the group"),
            Key("unfold", "right,l", "unfold", "Unfold", "unfold the group"),
            Key("back", "escape", "screen.leave_settings", "Back", "back to the keys of the"
                " cockpit", footer=True),
        ),
    ),
    "choice": Group(
        "List of values",
        (
            Key("choose", "enter", "select", "Choose", "take the value over", footer=True),
            Key("down", "down,j", "cursor_down", "Down", "next value"),
            Key("up", "up,k", "cursor_up", "Up", "previous value"),
            Key("back", "escape", "screen.leave_field", "Back", "leave the value as it was",
                footer=True),
        ),
    ),
    "number": Group(
        "Field of a setting",
        (
            Key("larger", "up", "step(1)", "Larger", "the next larger value; enter takes it"),
            Key("smaller", "down", "step(-1)", "Smaller", "the next smaller value; enter takes it"),
        ),
    ),
    "field": Group(
        "Field",
        (
            Key("submit", "enter", "submit", "Accept", "accept what was typed", footer=True),
            Key("back", "escape", "screen.leave_field", "Back", "leave the field as it was",
                footer=True),
        ),
    ),
    "table": Group(
        "Tables",
        (
            Key("down", "down,j", "cursor_down", "Down", "next row"),
            Key("up", "up,k", "cursor_up", "Up", "previous row"),
            Key("first", "home,g", "scroll_top", "First", "first row"),
            Key("last", "end,G", "scroll_bottom", "Last", "last row"),
            Key("page_down", "pagedown,ctrl+f", "page_down", "Page down", "a page down"),
            Key("page_up", "pageup,ctrl+b", "page_up", "Page up", "a page up"),
        ),
    ),
    "runs": Group(
        "Runs",
        (
            Key("open", "enter", "open", "Open",
                "open the run in the cockpit; if another program trains it, watch it", footer=True),
            Key("filter", "slash", "edit('filter')", "Filter",
                "show only runs that match: lr>1e-3 best<2 tag:good", footer=True),
            Key("sort", "s", "sort", "Sort", "sort by the next column (or click on a title)",
                footer=True),
            Key("reverse", "S", "reverse", "Reverse", "sort the other way round"),
            Key("columns", "C", "columns", "Columns", "choose the columns"),
            Key("preview", "p", "preview", "Preview", "hide the preview, or show it"),
            Key("tags", "t", "edit('tags')", "Tags", "edit the tags"),
            Key("note", "n", "edit('note')", "Note", "edit the note"),
            Key("rename", "R", "edit('name')", "Rename", "give the run another name"),
            Key("mark", "space", "mark", "Mark", "mark the run, or no longer", footer=True),
            Key("mark_all", "a", "mark_all", "Mark all", "mark all runs listed, or none of them"),
            Key("compare", "c", "compare", "Compare", "compare the marked runs", footer=True),
            Key("plot", "x", "plot", "Plot", "plot the loss over a setting in which runs differ",
                footer=True),
            Key("inside", "i", "inside", "Inside",
                "look inside the model of the run, or of two marked ones"),
            Key("trash", "delete,backspace", "trash", "Trash",
                "move the marked runs that are shown, or this one, to the trash", footer=True),
            Key("undo", "u", "undo", "Undo", "bring back what was moved to the trash last",
                footer=True),
            Key("back", "escape,q,r", "leave", "Back",
                "back to the cockpit (first out of a filter)", footer=True),
        ),
    ),
    "compare": Group(
        "Comparison",
        (
            Key("axis", "x", "next_axis", "Axis", "over steps, tokens, epochs or training time",
                footer=True),
            Key("metric", "v", "next_metric(1)", "Metric",
                "the smoothed training loss, the validation loss, then all that was recorded",
                footer=True),
            Key("metric_before", "V", "next_metric(-1)", "Metric before", "the metric before"),
            Key("scale", "y", "toggle_log", "Scale", "logarithmic losses on or off", footer=True),
            Key("zoom", "z", "toggle_window", "Zoom", "the whole run, or its last fifth",
                footer=True),
            Key("cursor_left", "comma,shift+left", "move_cursor(-1)", "Cursor left",
                "a cursor with exact values: to the left"),
            Key("cursor_right", "full_stop,shift+right", "move_cursor(1)", "Cursor right",
                "the cursor to the right"),
            Key("cursor_far_left", "less_than_sign", "move_cursor(-10)", "Far left",
                "the cursor ten columns to the left"),
            Key("cursor_far_right", "greater_than_sign", "move_cursor(10)", "Far right",
                "the cursor ten columns to the right"),
            Key("no_cursor", "backspace", "clear_cursor", "No cursor", "take the cursor away"),
            Key("zoom_in", "plus,equals_sign", "zoom(1)", "Zoom in",
                "zoom in at the cursor, or at the end; as the mouse wheel does"),
            Key("zoom_out", "minus", "zoom(-1)", "Zoom out", "zoom out"),
            Key("fit", "0", "fit", "Fit", "show all again"),
            Key("pan_left", "left_square_bracket", "pan(-1)", "Pan left",
                "move a zoomed chart to the left; dragging it does so, too"),
            Key("pan_right", "right_square_bracket", "pan(1)", "Pan right",
                "move a zoomed chart to the right"),
            Key("less_smooth", "left_curly_bracket", "smooth(-1)", "Less smooth",
                "smooth the curves less"),
            Key("smoother", "right_curly_bracket", "smooth(1)", "Smoother", "smooth them more"),
            Key("export", "E", "export_chart", "Export",
                "write what the chart shows to the folder of the selected run, as SVG and CSV"),
            Key("sample", "s", "sample", "Samples",
                "texts of all, from the same prompt and seed; again: with the next seed",
                footer=True),
            Key("prompt", "p", "prompt", "Prompt", "edit the prompt; enter samples, esc goes"
                " back", footer=True),
            Key("table", "t", "table", "Table", "the settings that differ, and the results",
                footer=True),
            Key("seeds", "m", "toggle_seeds", "Seeds", "runs that differ in the seed alone as their"
                " mean and a band, or each", footer=True),
            Key("part", "c", "next_part", "Chart/table", "chart and table, or one of them alone",
                footer=True),
            Key("hide", "space", "toggle_selected", "Hide/show",
                "hide the selected run, or show it again", footer=True),
            Key("solo", "o", "solo", "Alone", "only the selected run, or all", footer=True),
            *(
                Key(f"run_{place}", str(place), f"toggle_run({place - 1})", f"Run {place}",
                    f"hide the run number {place}, or show it again")
                for place in range(1, 10)
            ),
            Key("down", "down,j", "scroll_texts(1, 0)", "Down", "scroll the texts a line down"),
            Key("up", "up,k", "scroll_texts(-1, 0)", "Up", "scroll the texts a line up"),
            Key("page_down", "pagedown", "scroll_texts(8, 0)", "Page down",
                "scroll the texts a page down"),
            Key("page_up", "pageup", "scroll_texts(-8, 0)", "Page up",
                "scroll the texts a page up"),
            Key("right", "right,l", "scroll_texts(0, 1)", "Right", "the next text"),
            Key("left", "left,h", "scroll_texts(0, -1)", "Left", "the previous text"),
            Key("back", BACK_KEYS, "close", "Close", "back", footer=True),
        ),
    ),
    "plot": Group(
        "Plot over a setting",
        (
            Key("setting", "x", "next_setting(1)", "Setting", "over the next setting that differs",
                footer=True),
            Key("setting_before", "X", "next_setting(-1)", "Setting before", "over the setting"
                " before"),
            Key("figure", "v", "next_figure", "Figure", "best, last or training loss, or the time",
                footer=True),
            Key("seeds", "m", "toggle_seeds", "Seeds",
                "mean and band of runs that differ in the seed alone, or only the runs",
                footer=True),
            Key("next", "right,l,down,j", "move(1)", "Next run", "the run with the next higher"
                " value", footer=True),
            Key("before", "left,h,up,k", "move(-1)", "Run before", "the run with the next lower"
                " value"),
            Key("first", "home,g", "move(-10000)", "First", "the run with the lowest value"),
            Key("last", "end,G", "move(10000)", "Last", "the run with the highest value"),
            Key("choose", "enter", "choose", "To the run", "back to the table, to this run",
                footer=True),
            Key("back", BACK_KEYS, "close", "Back", "back to the table", footer=True),
        ),
    ),
    "columns": Group(
        "Columns of the runs",
        (
            Key("tick", "enter", "tick", "Tick", "show the column, or no longer", footer=True,
                priority=True),
            Key("down", "down", "move(1)", "Down", "next row", priority=True),
            Key("up", "up", "move(-1)", "Up", "previous row", priority=True),
            Key("automatic", "ctrl+r", "automatic", "Automatic", "let the program choose",
                footer=True),
            Key("back", "escape", "close", "Close", "back to the runs", footer=True, priority=True),
        ),
        modal=True,
    ),
    "queue": Group(
        "Queue",
        (
            Key("open", "enter", "open", "Open", "open the run in the cockpit", footer=True),
            Key("start", "r", "start_next", "Run next", "train the next run now", footer=True),
            Key("hold", "H,h", "hold", "Hold", "let no run start by itself, or release it",
                footer=True),
            Key("order", "o,l", "toggle_order", "Best first",
                "sort by loss, or in the queue's order", footer=True),
            Key("cancel", "x", "cancel", "Cancel", "do not train the run; what it has is kept",
                footer=True),
            Key("retry", "t", "retry", "Retry", "queue a failed or cancelled run again",
                footer=True),
            Key("sooner", "K", "move(-1)", "Sooner", "move the run towards the front", footer=True),
            Key("later", "J", "move(1)", "Later", "move the run towards the end", footer=True),
            Key("back", "escape,q,Q", "dismiss", "Back", "back to the cockpit", footer=True),
        ),
    ),
    "timeline": Group(
        "Timeline",
        (
            Key("earlier", "left,h", "move(-1)", "Earlier", "the moment before", footer=True),
            Key("later", "right,l", "move(1)", "Later", "the moment after", footer=True),
            Key("far_earlier", "pageup", "move(-10)", "Ten earlier", "ten moments before"),
            Key("far_later", "pagedown", "move(10)", "Ten later", "ten moments after"),
            Key("first", "home", "move(-1000000)", "First", "the first moment"),
            Key("last", "end", "move(1000000)", "Last", "the last moment"),
            Key("weights_before", "comma", "move_to_weights(-1)", "Kept weights before",
                "the last moment before whose weights are kept"),
            Key("weights_after", "full_stop", "move_to_weights(1)", "Kept weights after",
                "the next moment whose weights are kept"),
            Key("rewind", "enter", "choose('rewind')", "Go back", "go on from here in this run",
                footer=True),
            Key("fork", "f,B", "choose('fork')", "Fork", "start another run from here",
                footer=True),
            Key("inside", "i", "inside", "Inside",
                "look inside the model of that moment", footer=True),
            Key("sample", "s", "sample", "Sample", "generate a text with the weights of that"
                " moment", footer=True),
            Key("step", "g", "type_step", "Step…", "type the number of a step", footer=True),
            Key("play", "space", "play", "Play", "play the texts one after the other, or stop"),
            Key("faster", "plus,equals_sign", "speed(1)", "Faster", "play faster"),
            Key("slower", "minus", "speed(-1)", "Slower", "play slower"),
            Key("beside", "c", "beside", "Beside",
                "keep this text beside those of other moments, or no longer"),
            Key("down", "down,j", "scroll_text(1)", "Down", "scroll the text a line down"),
            Key("up", "up", "scroll_text(-1)", "Up", "scroll the text a line up"),
            Key("keep", "k", "pin", "Keep",
                "keep the weights of that moment for good, or no more", footer=True),
            Key("scale", "y", "toggle_log", "Scale", "logarithmic losses on or off"),
            Key("back", "escape,q,t,b", "dismiss", "Close", "back to the cockpit", footer=True),
        ),
    ),
    "inside": Group(
        "Inside of a model",
        (
            *(
                Key(view, str(number), f"show('{view}')", view.capitalize(), help)
                for number, (view, help) in enumerate((
                    ("attention", "what each head looks at"),
                    ("prediction", "the next token, and what the settings of sampling leave"),
                    ("surprise", "the bits that each token costs"),
                    ("layers", "what each layer would predict, adds and is worth"),
                    ("embeddings", "a map of the tokens as the model knows them"),
                    ("health", "gradients, updates and activations by layer and step"),
                ), 1)
            ),
            Key("enter", "enter", "enter('attention')", "Enlarge",
                "attention: one head, its steps, all heads; prediction: take the token; layers:"
                " switch the part off, or on; embeddings: go to the token", footer=True,
                others=(("enter('prediction')", "Take"), ("enter('layers')", "Off / on"),
                        ("enter('embeddings')", "Go to"))),
            Key("take_back", "backspace", "take_back", "Take back",
                "take the last token back that was chosen", footer=True),
            Key("setting", "m", "next_setting", "Setting",
                "prediction: temperature, top-k, top-p or min-p; health: the next figure",
                footer=True),
            Key("larger", "plus,equals_sign", "adjust(1)", "Larger",
                "prediction: more of the setting that is chosen", footer=True),
            Key("smaller", "minus", "adjust(-1)", "Smaller",
                "prediction: less of the setting that is chosen", footer=True),
            Key("text", "t,slash", "type_text", "Text", "type a text to look at", footer=True),
            Key("next_view", "tab", "next_view(1)", "Next view", "the next view", footer=True),
            Key("view_before", "shift+tab", "next_view(-1)", "View before", "the view before"),
            Key("left", "left,h", "move(-1)", "Left", "the token before", footer=True),
            Key("right", "right,l", "move(1)", "Right", "the token after"),
            Key("far_left", "shift+left", "move(-10)", "Ten left", "ten tokens before"),
            Key("far_right", "shift+right", "move(10)", "Ten right", "ten tokens after"),
            Key("first", "home,g", "move(-1000000)", "First", "the first token"),
            Key("last", "end,G", "move(1000000)", "Last", "the last token"),
            Key("down", "down,j", "go_down(1)", "Down",
                "the next head, candidate or row of the list; the token that is looked at",
                footer=True),
            Key("up", "up,k", "go_down(-1)", "Up", "the head, candidate or row before"),
            Key("layer_down", "pagedown,J", "go_layer(1)", "Layer down", "the layer above"),
            Key("layer_up", "pageup,K", "go_layer(-1)", "Layer up", "the layer below"),
            Key("earlier", "comma", "moment(-1)", "Earlier",
                "the kept weights before, at last the untrained ones", footer=True),
            Key("later", "full_stop", "moment(1)", "Later", "the kept weights after, at last now"),
            Key("now", "n", "now", "Now", "the weights as they are now", footer=True),
            Key("untrained", "u", "untrained", "Untrained", "the weights before the first step"),
            Key("beside", "c", "beside", "Beside",
                "keep this moment beside the next one, or no longer", footer=True),
            Key("sample", "s", "sample", "Sample", "look at the text on the cockpit's screen"),
            Key("next_excerpt", "right_square_bracket", "excerpt(1)", "Next excerpt",
                "the next excerpt of the validation split", footer=True),
            Key("excerpt_before", "left_square_bracket", "excerpt(-1)", "Excerpt before",
                "the excerpt before"),
            Key("export", "E", "export", "Export",
                "write the picture to the run's folder, as SVG"),
            Key("back", BACK_KEYS, "close", "Back", "back", footer=True),
        ),
    ),
    "data": Group(
        "Data",
        (
            *(
                Key(view, str(number), f"show('{view}')", view.capitalize(), help)
                for number, (view, help) in enumerate((
                    ("text", "what the text is, whether model and run suit it, and how it reads"),
                    ("tokens", "its tokens told apart, the most frequent ones, their lengths"),
                    ("batch", "a batch as the model gets it: inputs, and targets beneath them"),
                    ("try", "a typed text as two tokenizers cut it, side by side"),
                    ("texts", "the texts that have a name: choose, download, prepare, delete"),
                ), 1)
            ),
            Key("next_view", "tab", "next_view(1)", "Next view", "the next view", footer=True),
            Key("view_before", "shift+tab", "next_view(-1)", "View before", "the view before"),
            Key("search", "slash", "edit('search')", "Search", "search for words, in any case",
                footer=True),
            Key("next", "n", "next_match", "Next",
                "the next place with the words that were searched for; of batches, that of the"
                " present step", footer=True, others=(("now", "Now"),)),
            Key("left", "left,h", "move(-1)", "Left", "the token before; the row of the batch"
                " before", footer=True),
            Key("right", "right,l", "move(1)", "Right", "the next token; the next row of the"
                " batch"),
            Key("up", "up,k", "go_down(-1)", "Up", "a line up; the batch of the step before",
                footer=True),
            Key("down", "down,j", "go_down(1)", "Down", "a line down; the batch of the next step"),
            Key("page_up", "pageup", "page(-1)", "Page up", "a page up"),
            Key("page_down", "pagedown,space", "page(1)", "Page down", "a page down"),
            Key("first", "home,g", "go_to_end(-1)", "Start", "to the start of the text; the first"
                " row of the batch"),
            Key("last", "end,G", "go_to_end(1)", "End", "to the end of the text; the last row of"
                " the batch"),
            Key("choose", "o", "edit('data.corpus')", "Other text",
                "type a name, file, folder, pattern or address, and look at that text",
                footer=True),
            Key("tokenizer", "t", "edit('data.tokenizer')", "Tokenizer",
                "type another tokenizer, and look at its tokens", footer=True),
            Key("vocabulary", "v", "edit('data.vocab_size')", "Vocabulary",
                "type how many tokens bpe has, and look at them"),
            Key("type", "w", "edit('typed')", "Write", "write a text, and see its tokens",
                footer=True),
            Key("second", "c", "edit('second')", "Compare",
                "type the tokenizer that the text's own is compared with", footer=True),
            Key("take", "enter", "take", "Take",
                "take what is looked at for the next run; in the list, look at the text at the"
                " cursor", footer=True, others=(("look", "Look at it"),)),
            Key("fetch", "f", "fetch", "Download", "download the text, which is not here yet",
                footer=True),
            Key("prepare", "p", "prepare", "Prepare", "make the tokens that the next run would have"
                " of the text at the cursor", footer=True),
            Key("remove", "delete,x", "remove", "Delete",
                "delete what is kept of the text at the cursor", footer=True),
            Key("back", "escape,q,D", "close", "Back",
                "back to the cockpit (first to its own text)", footer=True),
        ),
    ),
    "lr_finder": Group(
        "Learning-rate test",
        (
            Key("take", "enter", "take", "Take it over", "use the suggestion, as if it had been"
                " typed in the settings", footer=True),
            Key("back", BACK_KEYS, "close", "Close", "leave everything as it was", footer=True),
        ),
    ),
    "presets": Group(
        "Presets",
        (
            Key("take", "enter", "take", "Take", "take the preset over for the next run",
                footer=True),
            Key("filter", "slash", "filter", "Filter", "show only presets with these words",
                footer=True),
            Key("save", "s,ctrl+s", "save", "Save as…",
                "save the settings of the next run as a preset of your own", footer=True),
            Key("delete", "delete,backspace", "delete", "Delete",
                "delete the preset, if it is one of your own", footer=True),
            Key("down", "down,j", "move('down')", "Down", "next preset"),
            Key("up", "up,k", "move('up')", "Up", "preset before"),
            Key("first", "home,g", "move('first')", "First", "first preset"),
            Key("last", "end,G", "move('last')", "Last", "last preset"),
            Key("page_down", "pagedown", "move('page_down')", "Page down", "a page down"),
            Key("page_up", "pageup", "move('page_up')", "Page up", "a page up"),
            Key("detail_down", "J,shift+down", "scroll_detail(1)", "Detail down",
                "the description, a line down"),
            Key("detail_up", "K,shift+up", "scroll_detail(-1)", "Detail up",
                "the description, a line up"),
            Key("back", "escape,q,ctrl+o,N", "leave", "Back",
                "back to the cockpit (first out of a filter)", footer=True),
        ),
    ),
    "lecture": Group(
        "Lecture",
        (
            Key("train", "t", "train", "Train it", "train this model now, in a new run",
                footer=True),
            Key("open", "enter,o", "open", "Open", "open the best run of this model in the cockpit",
                footer=True),
            Key("down", "down,j", "move('down')", "Down", "next model"),
            Key("up", "up,k", "move('up')", "Up", "model before"),
            Key("first", "home,g", "move('first')", "First", "first model"),
            Key("last", "end,G", "move('last')", "Last", "last model"),
            Key("lesson", "1", "page('lesson')", "Lesson",
                "what is new, and the data on its way, with shapes"),
            Key("code", "2", "page('code')", "Code", "the lines of the program that do it"),
            Key("pass", "3", "page('pass')", "One pass",
                "a text through one block: every tensor, its shape and its numbers"),
            Key("text", "4", "page('text')", "Its text", "what its run has written last"),
            Key("curves", "5", "page('curves')", "Curves",
                "the losses of all models on one chart, with parameters and time"),
            Key("next_page", "tab", "next_page(1)", "Next page", "the next page", footer=True),
            Key("page_before", "shift+tab", "next_page(-1)", "Page before", "the page before"),
            Key("page_down", "pagedown,space", "scroll_page(2, 0)", "Scroll",
                "scroll the page down", footer=True),
            Key("page_up", "pageup", "scroll_page(-2, 0)", "Scroll up", "scroll the page up"),
            Key("line_down", "J,shift+down", "scroll_page(1, 0)", "Line down",
                "scroll the page a line down"),
            Key("line_up", "K,shift+up", "scroll_page(-1, 0)", "Line up",
                "scroll the page a line up"),
            Key("right", "right,l", "scroll_page(0, 8)", "Right", "scroll the page to the right"),
            Key("left", "left,h", "scroll_page(0, -8)", "Left", "scroll the page to the left"),
            Key("alone", "f", "alone", "Page alone", "the page alone, or the path beside it",
                footer=True),
            Key("metric", "v", "next_metric", "Train/val",
                "curves: the validation loss, or the smoothed training loss"),
            Key("axis", "x", "next_axis", "Axis",
                "curves: over steps, tokens, epochs or training time"),
            Key("scale", "y", "toggle_log", "Scale", "curves: logarithmic losses on or off"),
            Key("compare", "c", "compare", "Compare", "compare the runs of all models"),
            Key("back", "escape,q,L", "leave", "Back", "back to the cockpit", footer=True),
        ),
    ),
    "ask_remove_text": Group(
        "Question before what is kept of a text is deleted",
        (
            Key("tokens", "t,enter", "answer('tokens')", "delete its tokens", "delete its tokens"),
            Key("all", "a", "answer('all')", "delete the text", "delete the text that was"
                " downloaded, and its tokens"),
            Key("no", BACK_KEYS, "answer('')", "back", "delete nothing", footer=True),
        ),
        modal=True,
    ),
    "ask_delete_preset": Group(
        "Question before a preset is deleted",
        (
            Key("yes", "enter,d", "answer('delete')", "delete it", "delete it"),
            Key("no", BACK_KEYS, "answer('')", "back", "keep it", footer=True),
        ),
        modal=True,
    ),
    "preferences": Group(
        "Preferences",
        (
            Key("back", "escape", "leave_field", "Back", "out of a value, then back", footer=True),
            Key("close", "q,O", "dismiss", "Close", "back to the cockpit"),
            Key("reset", "delete,backspace", "reset", "Default", "the default of the preference",
                footer=True),
        ),
        modal=True,
    ),
    "keys": Group(
        "Keys of actions",
        (
            Key("add", "plus,a", "add", "One more", "press a further key for the action",
                footer=True),
            Key("reset", "delete,backspace", "reset", "Default", "the action's own keys again",
                footer=True),
            Key("filter", "slash", "filter", "Filter", "show only actions with these words",
                footer=True),
            Key("down", "j", "move('down')", "Down", "next action"),
            Key("up", "k", "move('up')", "Up", "action before"),
            Key("back", "escape,q", "leave_field", "Back",
                "back to the preferences (first out of a filter)", footer=True),
        ),
        modal=True,
    ),
    "page": Group(
        "Help and log",
        (
            Key("down", "down,j", "scroll_down", "Down", "a line down"),
            Key("up", "up,k", "scroll_up", "Up", "a line up"),
            Key("page_down", "pagedown,space,ctrl+f", "page_down", "Page down", "a page down"),
            Key("page_up", "pageup,ctrl+b", "page_up", "Page up", "a page up"),
            Key("first", "home,g", "scroll_home", "Top", "to the top"),
            Key("last", "end,G", "scroll_end", "End", "to the end"),
            Key("back", "escape,q,question_mark,f1", "screen.dismiss", "Back", "back", footer=True),
        ),
        modal=True,
    ),
    "ask_new_run": Group(
        "Question before a new run",
        (
            Key("yes", "enter", "answer('start')", "start the new run", "start it"),
            Key("no", BACK_KEYS, "answer('')", "back", "start none", footer=True),
        ),
        modal=True,
    ),
    "ask_gpus": Group(
        "Question about several GPUs",
        (
            Key("all", "a,enter", "answer('all')", "all", "train on all, in the background"),
            Key("one", "o", "answer('one')", "one", "train on one, in this app"),
            Key("no", BACK_KEYS, "answer('')", "back", "start none", footer=True),
        ),
        modal=True,
    ),
    "ask_control": Group(
        "Question before control is taken",
        (
            Key("yes", "y,enter", "answer('take')", "take control",
                "take control; whoever has it is told, and watches"),
            Key("no", BACK_KEYS, "answer('')", "back", "go on watching", footer=True),
        ),
        modal=True,
    ),
    "ask_back": Group(
        "Question before steps are trained again",
        (
            Key("yes", "enter", "answer('back')", "go back", "go back; that can be stopped"),
            Key("nearest", "n", "answer('nearest')", "nearest", "to the nearest step before that is"
                " there at once"),
            Key("no", BACK_KEYS, "answer('')", "back", "do not go back", footer=True),
        ),
        modal=True,
    ),
    "ask_fork": Group(
        "Question before a fork",
        (
            Key("yes", "enter,o", "answer('open')", "fork and open it, paused", "fork and open it"),
            Key("stay", "f,B", "answer('stay')", "fork and stay here", "fork without opening it"),
            Key("no", BACK_KEYS, "answer('')", "back", "do not fork", footer=True),
        ),
        modal=True,
    ),
    "ask_open": Group(
        "Question before another run is opened",
        (
            Key("yes", "enter,o", "answer('open')", "open, paused", "open it"),
            Key("no", BACK_KEYS, "answer('')", "back", "open none", footer=True),
        ),
        modal=True,
    ),
    "ask_quit": Group(
        "Question before the app quits",
        (
            Key("save", "s,enter", "answer('save')", "save and quit", "save and quit"),
            Key("now", "q", "answer('now')", "quit now", "quit without saving"),
            Key("leave", "l", "answer('leave')", "leave it training", "train in the background"),
            Key("stay", "escape,k", "answer('')", "stay", "do not quit"),
        ),
        modal=True,
    ),
    "ask_queue": Group(
        "Adding to the queue",
        (
            Key("add", "enter", "add", "Add", "queue the runs", footer=True),
            Key("back", "escape", "dismiss(None)", "Back", "queue nothing", footer=True),
        ),
        modal=True,
    ),
    "box": Group(
        "Box to tick",
        (Key("tick", "space", "tick", "Tick", "tick the box, or no longer", footer=True),),
    ),
}  # fmt: skip


def bindings(name: str) -> list[BindingType]:
    """Return the keys of a group as Textual has them; the footer and the dispatch read these."""
    group = GROUPS[name]
    keys = group.keys + ((HELP,) if group.modal and name != "page" else ())
    return [one for key in keys for one in _bindings_of(name, key)]


def _bindings_of(group: str, key: Key) -> Iterator[Binding]:
    priority = key.priority or (group == "app" and key is not HELP)
    for action, label in ((key.action, key.label), *key.others):
        yield Binding(key.keys, action, label, show=key.footer, priority=priority,
                      tooltip=key.help, id=id_of(group, key))  # fmt: skip


def id_of(group: str, key: Key) -> str:
    """Return what the preferences call an action; help is one action wherever it stands."""
    return f"app.{key.name}" if key is HELP else f"{group}.{key.name}"


# by id; of one that stands in several groups the first
DEFAULTS = {id_of(name, key): key.keys for name, group in GROUPS.items() for key in group.keys}
_help_id = id_of("app", HELP)
_ids = [*(id for id in DEFAULTS if id != _help_id), _help_id]  # help comes last
PLACES = {id: place for place, id in enumerate(_ids)}


def display(keys: str) -> str:
    """Return keys as they are printed: ``full_stop,escape`` is ``. esc``."""
    return " ".join(map(_display_one, keys.split(",")))


def _display_one(key: str) -> str:
    *modifiers, last = key.split("+")
    return "+".join((*modifiers, last if last in ("enter", "backspace") else format_key(last)))
