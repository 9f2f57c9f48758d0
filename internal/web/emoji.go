package web

// stepGlyphs are the shortcodes the icon sprite has a drawing for, with the
// other names people write for the same thing.
var stepGlyphs = map[string]string{
	"docker": "docker", "whale": "docker", "rust": "rust", "crab": "rust",
	"lint": "lint", "broom": "lint", "eslint": "lint",
	"test": "test", "test_tube": "test", "microscope": "micro", "micro": "micro",
	"sql": "sql", "postgres": "sql", "mysql": "sql", "sqlite": "sql",
	"deploy": "deploy", "ship": "deploy", "rocket": "deploy",
	"mac": "mac", "apple": "mac", "macos": "mac",
	"pipeline": "pipeline", "buildkite": "pipeline",
	"gate": "gate", "construction": "gate", "upgrade": "upgrade", "arrow_up": "upgrade",
}

func glyphFor(name string) string { return stepGlyphs[name] }

// emoji are the shortcodes met most often in step labels, as the characters
// they stand for. The names are those of the gemoji table that GitHub and
// Slack share.
var emoji = map[string]string{
	"rocket": "\U0001F680", "ship": "\U0001F6A2", "whale": "\U0001F433", "crab": "\U0001F980", "broom": "\U0001F9F9", "test_tube": "\U0001F9EA",
	"microscope": "\U0001F52C", "apple": "\U0001F34E", "construction": "\U0001F6A7", "arrow_up": "\u2B06\uFE0F", // where no drawing is put
	"+1": "\U0001F44D", "thumbsup": "\U0001F44D", "tada": "\U0001F389", "fire": "\U0001F525",
	"hammer": "\U0001F528", "wrench": "\U0001F527", "hammer_and_wrench": "\U0001F6E0\uFE0F", "gear": "\u2699\uFE0F",
	"package": "\U0001F4E6", "books": "\U0001F4DA", "book": "\U0001F4D6", "memo": "\U0001F4DD", "bug": "\U0001F41B",
	"lock": "\U0001F512", "key": "\U0001F511", "shield": "\U0001F6E1\uFE0F", "eyes": "\U0001F440", "mag": "\U0001F50D",
	"zap": "\u26A1", "sparkles": "\u2728", "star": "\u2B50", "boom": "\U0001F4A5", "bomb": "\U0001F4A3",
	"white_check_mark": "\u2705", "heavy_check_mark": "\u2714\uFE0F", "x": "\u274C", "warning": "\u26A0\uFE0F",
	"no_entry": "\u26D4", "stop_sign": "\U0001F6D1", "hourglass": "\u231B", "alarm_clock": "\u23F0", "stopwatch": "\u23F1\uFE0F",
	"label": "\U0001F3F7\uFE0F", "bookmark": "\U0001F516", "link": "\U0001F517", "globe_with_meridians": "\U0001F310",
	"cloud": "\u2601\uFE0F", "snake": "\U0001F40D", "python": "\U0001F40D", "gem": "\U0001F48E", "ruby": "\U0001F48E",
	"coffee": "\u2615", "java": "\u2615", "penguin": "\U0001F427", "linux": "\U0001F427", "elephant": "\U0001F418",
	"rabbit": "\U0001F430", "robot_face": "\U0001F916", "nail_care": "\U0001F485", "art": "\U0001F3A8",
	"chart_with_upwards_trend": "\U0001F4C8", "bar_chart": "\U0001F4CA", "racehorse": "\U0001F40E", "checkered_flag": "\U0001F3C1",
	"recycle": "\u267B\uFE0F", "wastebasket": "\U0001F5D1\uFE0F", "floppy_disk": "\U0001F4BE", "cd": "\U0001F4BF",
	"inbox_tray": "\U0001F4E5", "outbox_tray": "\U0001F4E4", "file_folder": "\U0001F4C1", "page_facing_up": "\U0001F4C4",
	"clipboard": "\U0001F4CB", "pushpin": "\U0001F4CC", "bell": "\U0001F514", "mega": "\U0001F4E3", "speech_balloon": "\U0001F4AC",
	"arrows_counterclockwise": "\U0001F504", "arrow_right": "\u27A1\uFE0F", "point_right": "\U0001F449", "seedling": "\U0001F331",
	"evergreen_tree": "\U0001F332", "lipstick": "\U0001F484", "heart": "\u2764\uFE0F", "100": "\U0001F4AF", "toolbox": "\U0001F9F0",
	"brick": "\U0001F9F1", "building_construction": "\U0001F3D7\uFE0F", "factory": "\U0001F3ED", "satellite": "\U0001F4E1",
	"ambulance": "\U0001F691", "rotating_light": "\U0001F6A8", "cop": "\U0001F46E", "vertical_traffic_light": "\U0001F6A6",
	"ok_hand": "\U0001F44C", "muscle": "\U0001F4AA", "wave": "\U0001F44B", "clap": "\U0001F44F", "raised_hand": "\u270B",
}
