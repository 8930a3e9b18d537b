/*
 * engine_template.c - see engine_template.h.  The blocks of an editor drawing
 * carry the ids of the nodes that they stand for.
 */
#include "engine/engine_template.h"

#include "base/base.h"

static const struct engine_template templates[] = {
	{
		.id = "bonus_extiende_default",
		.name = "Weekend bonus on top of default",
		.description =
			"Scores as the built-in default does, and pays ha"
			"lf as much again at the weekend: events say so i"
			"n data.is_weekend.",
		.type = "DSL_EXTEND",
		.parent = "default",
		.ast = "{\"type\":\"program\",\"id\":\"weekend\",\"rules\":[],"
		       "\"po"
		       "st_rules\":[{\"type\":\"rule\",\"id\":\"at-weekend\","
		       "\"whe"
		       "n\":{\"type\":\"field\",\"id\":\"is-weekend\",\"path\":"
		       "\"d"
		       "ata.is_weekend\"},\"then\":[{\"type\":\"set_points\","
		       "\"i"
		       "d\":\"raise\",\"value\":{\"type\":\"arith\",\"id\":"
		       "\"raise"
		       "d\",\"op\":\"*\",\"left\":{\"type\":\"field\",\"id\":"
		       "\"par"
		       "ent-points\",\"path\":\"parent.points\"},\"right\":{"
		       "\"ty"
		       "pe\":\"literal\",\"id\":\"factor\",\"value\":1.5}}},{"
		       "\"typ"
		       "e\":\"set_case_name\",\"id\":\"name-it\",\"value\":{"
		       "\"type"
		       "\":\"literal\",\"id\":\"case\",\"value\":"
		       "\"WeekendBonus\"}"
		       "}]}]}",
		.blockly =
			"<xml xmlns=\"https://developers.google.com/blockl"
			"y/xml\"><block type=\"gd_program\" id=\"weekend\"><st"
			"atement name=\"POST_RULES\"><block type=\"gd_rule\" "
			"id=\"at-weekend\"><value name=\"WHEN\"><block type=\""
			"gd_field\" id=\"is-weekend\"><field name=\"PATH\">dat"
			"a.is_weekend</field></block></value><statement n"
			"ame=\"THEN\"><block type=\"gd_set_points\" id=\"raise"
			"\"><value name=\"VALUE\"><block type=\"gd_arith\" id="
			"\"raised\"><field name=\"OP\">*</field><value name=\""
			"LEFT\"><block type=\"gd_field\" id=\"parent-points\">"
			"<field name=\"PATH\">parent.points</field></block>"
			"</value><value name=\"RIGHT\"><block type=\"gd_lite"
			"ral_number\" id=\"factor\"><field name=\"VALUE\">1.5<"
			"/field></block></value></block></value><next><bl"
			"ock type=\"gd_set_case_name\" id=\"name-it\"><value "
			"name=\"VALUE\"><block type=\"gd_literal_string\" id="
			"\"case\"><field name=\"VALUE\">WeekendBonus</field><"
			"/block></value></block></next></block></statemen"
			"t></block></statement></block></xml>",
	},
	{
		.id = "bonus_por_velocidad",
		.name = "Bonus for speed",
		.description =
			"Pays 10 points to users whose mean time between "
			"measurements is more than a fifth shorter than e"
			"verybody's. Events of other users get no award: "
			"add a default to change that.",
		.type = "DSL_FULL",
		.ast = "{\"type\":\"program\",\"id\":\"speed\",\"rules\":[{"
		       "\"type"
		       "\":\"rule\",\"id\":\"faster\",\"when\":{\"type\":"
		       "\"compare"
		       "\",\"id\":\"is-faster\",\"op\":\"<\",\"left\":{"
		       "\"type\":\""
		       "field\",\"id\":\"own-time\",\"path\":\"user.avg_time\"}"
		       ",\""
		       "right\":{\"type\":\"arith\",\"id\":\"bar\",\"op\":\"*"
		       "\",\""
		       "left\":{\"type\":\"field\",\"id\":\"all-times\","
		       "\"path\":"
		       "\"all.avg_time\"},\"right\":{\"type\":\"literal\","
		       "\"id\":"
		       "\"factor\",\"value\":0.8}}},\"then\":[{\"type\":"
		       "\"assign_"
		       "points\",\"id\":\"pay\",\"value\":{\"type\":"
		       "\"literal\",\""
		       "id\":\"points\",\"value\":10},\"case_name\":"
		       "\"SpeedBonus"
		       "\"}]}]}",
		.blockly =
			"<xml xmlns=\"https://developers.google.com/blockl"
			"y/xml\"><block type=\"gd_program\" id=\"speed\"><stat"
			"ement name=\"RULES\"><block type=\"gd_rule\" id=\"fas"
			"ter\"><value name=\"WHEN\"><block type=\"gd_compare\""
			" id=\"is-faster\"><field name=\"OP\">&lt;</field><va"
			"lue name=\"LEFT\"><block type=\"gd_field\" id=\"own-t"
			"ime\"><field name=\"PATH\">user.avg_time</field></b"
			"lock></value><value name=\"RIGHT\"><block type=\"gd"
			"_arith\" id=\"bar\"><field name=\"OP\">*</field><valu"
			"e name=\"LEFT\"><block type=\"gd_field\" id=\"all-tim"
			"es\"><field name=\"PATH\">all.avg_time</field></blo"
			"ck></value><value name=\"RIGHT\"><block type=\"gd_l"
			"iteral_number\" id=\"factor\"><field name=\"VALUE\">0"
			".8</field></block></value></block></value></bloc"
			"k></value><statement name=\"THEN\"><block type=\"gd"
			"_assign_points\" id=\"pay\"><field name=\"CASE_NAME\""
			">SpeedBonus</field><value name=\"VALUE\"><block ty"
			"pe=\"gd_literal_number\" id=\"points\"><field name=\""
			"VALUE\">10</field></block></value></block></state"
			"ment></block></statement></block></xml>",
	},
	{
		.id = "engagement_basico",
		.name = "Basic engagement",
		.description =
			"Pays 1 point for each of a user's first measurem"
			"ents of a task. Later events get no award: add a"
			" default to change that.",
		.type = "DSL_FULL",
		.ast = "{\"type\":\"program\",\"id\":\"engagement\",\"rules\":["
		       "{\""
		       "type\":\"rule\",\"id\":\"first-steps\",\"when\":{"
		       "\"type\":"
		       "\"compare\",\"id\":\"is-new\",\"op\":\"<=\",\"left\":{"
		       "\"ty"
		       "pe\":\"field\",\"id\":\"own-count\",\"path\":\"user."
		       "measur"
		       "ements_count\"},\"right\":{\"type\":\"literal\",\"id\":"
		       "\"l"
		       "imit\",\"value\":2}},\"then\":[{\"type\":\"assign_"
		       "points"
		       "\",\"id\":\"pay\",\"value\":{\"type\":\"literal\","
		       "\"id\":"
		       "\"points\",\"value\":1},\"case_name\":\"BasicEngagement"
		       "\"}]}]}",
		.blockly =
			"<xml xmlns=\"https://developers.google.com/blockl"
			"y/xml\"><block type=\"gd_program\" id=\"engagement\">"
			"<statement name=\"RULES\"><block type=\"gd_rule\" id"
			"=\"first-steps\"><value name=\"WHEN\"><block type=\"g"
			"d_compare\" id=\"is-new\"><field name=\"OP\">&lt;=</f"
			"ield><value name=\"LEFT\"><block type=\"gd_field\" i"
			"d=\"own-count\"><field name=\"PATH\">user.measuremen"
			"ts_count</field></block></value><value name=\"RIG"
			"HT\"><block type=\"gd_literal_number\" id=\"limit\"><"
			"field name=\"VALUE\">2</field></block></value></bl"
			"ock></value><statement name=\"THEN\"><block type=\""
			"gd_assign_points\" id=\"pay\"><field name=\"CASE_NAM"
			"E\">BasicEngagement</field><value name=\"VALUE\"><b"
			"lock type=\"gd_literal_number\" id=\"points\"><field"
			" name=\"VALUE\">1</field></block></value></block><"
			"/statement></block></statement></block></xml>",
	},
	{
		.id = "recompensa_completar_tarea",
		.name = "Reward for completing a task",
		.description =
			"Pays 5 points for the second measurement of a ta"
			"sk and 2 points for every other one.",
		.type = "DSL_FULL",
		.ast = "{\"type\":\"program\",\"id\":\"completion\",\"rules\":["
		       "{\""
		       "type\":\"rule\",\"id\":\"completed\",\"when\":{"
		       "\"type\":\""
		       "compare\",\"id\":\"is-second\",\"op\":\"==\",\"left\":{"
		       "\"t"
		       "ype\":\"field\",\"id\":\"count\",\"path\":\"task."
		       "measureme"
		       "nts_count\"},\"right\":{\"type\":\"literal\",\"id\":"
		       "\"one"
		       "\",\"value\":1}},\"then\":[{\"type\":\"assign_points\","
		       "\"i"
		       "d\":\"pay\",\"value\":{\"type\":\"literal\",\"id\":"
		       "\"point"
		       "s\",\"value\":5},\"case_name\":\"FirstCompletion\"}]}],"
		       "\"default\":{\"type\":\"assign_points\",\"id\":\"pay-"
		       "rest"
		       "\",\"value\":{\"type\":\"literal\",\"id\":\"rest-"
		       "points\","
		       "\"value\":2},\"case_name\":\"TaskCompleted\"}}",
		.blockly =
			"<xml xmlns=\"https://developers.google.com/blockl"
			"y/xml\"><block type=\"gd_program\" id=\"completion\">"
			"<statement name=\"RULES\"><block type=\"gd_rule\" id"
			"=\"completed\"><value name=\"WHEN\"><block type=\"gd_"
			"compare\" id=\"is-second\"><field name=\"OP\">==</fie"
			"ld><value name=\"LEFT\"><block type=\"gd_field\" id="
			"\"count\"><field name=\"PATH\">task.measurements_cou"
			"nt</field></block></value><value name=\"RIGHT\"><b"
			"lock type=\"gd_literal_number\" id=\"one\"><field na"
			"me=\"VALUE\">1</field></block></value></block></va"
			"lue><statement name=\"THEN\"><block type=\"gd_assig"
			"n_points\" id=\"pay\"><field name=\"CASE_NAME\">First"
			"Completion</field><value name=\"VALUE\"><block typ"
			"e=\"gd_literal_number\" id=\"points\"><field name=\"V"
			"ALUE\">5</field></block></value></block></stateme"
			"nt></block></statement><statement name=\"DEFAULT\""
			"><block type=\"gd_assign_points\" id=\"pay-rest\"><f"
			"ield name=\"CASE_NAME\">TaskCompleted</field><valu"
			"e name=\"VALUE\"><block type=\"gd_literal_number\" i"
			"d=\"rest-points\"><field name=\"VALUE\">2</field></b"
			"lock></value></block></statement></block></xml>",
	},
};

const struct engine_template *engine_template_at(unsigned i)
{
	return i < NELEM(templates) ? &templates[i] : NULL;
}
