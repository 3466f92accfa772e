# All that a newcomer needs. Each target first sets up what is missing (bootstrap.sh).
bin := .venv/bin

.PHONY: demo serve test coverage check constraints

demo:         ## a task, carried out before your eyes: no key, no Docker, no network
	@./bootstrap.sh sandbox
	@$(bin)/autocode demo

serve:        ## the web page and the APIs, on http://127.0.0.1:8000
	@./bootstrap.sh sandbox
	@$(bin)/autocode serve

test:         ## every test
	@./bootstrap.sh sandbox
	@$(bin)/python -m pytest -n auto --maxprocesses 4

coverage:     ## every test, and which lines none of them ran; takes twice as long
	@./bootstrap.sh sandbox
	@$(bin)/python -m pytest -n auto --maxprocesses 4 --cov --cov-report term

check:        ## style, types, layers, start-up: nothing is changed
	@./bootstrap.sh
	$(bin)/ruff check --output-format concise .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports --no-logo
	$(bin)/python bench/startup.py --check

constraints:  ## new pins after a change of dependencies
	@./bootstrap.sh
	PATH="$$PATH:$(CURDIR)/$(bin)" uv pip compile --quiet pyproject.toml --all-extras --group test --group check \
	  --python-version 3.11 --no-header --no-annotate --output-file constraints.txt
