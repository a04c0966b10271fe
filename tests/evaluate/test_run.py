"""The stage through its door, on scripted engines: what it asks, what it counts, what it survives."""

import json

def test_smoke(evaluate_in, recipe_for, monkeypatch, trained, engines, capsys):
    made = engines(lambda p: "42", lambda p: "x", __import__("sys").modules["x"] if 0 else (lambda p: "Verdict: A")).install(monkeypatch)
    report = evaluate_in(recipe_for("evaluate.items_per_skill=2"))
    with capsys.disabled():
        print(capsys.readouterr().out)
        d = dict(report.__dict__); d.pop("per_skill"); d.pop("per_skill_harder")
        print(json.dumps(d, indent=1)[:6000])
        print(open(trained/"evaluate/verdicts.jsonl").readline())
        print(made.asked("judge")[0].prompt[0].content)
