# The commands for development. Each target first runs bootstrap.sh, which installs what is missing.
bin := .venv/bin
# Neighbours share fixtures and replay each other's programs, so they stay on a worker while others have work.
workers := -n auto --maxprocesses 4 --dist worksteal

.PHONY: demo serve page test coverage check constraints

demo:         ## run an example task with recorded models, without key, Docker or network
	@./bootstrap.sh sandbox
	@$(bin)/autocode demo

serve:        ## serve the web page and the APIs on http://127.0.0.1:8000
	@./bootstrap.sh sandbox
	@$(bin)/autocode serve

page:         ## build the page of web/ into server/static/ (needs Node.js)
	@./bootstrap.sh
	@$(bin)/python bench/web.py

test:         ## run all tests
	@./bootstrap.sh sandbox
	@$(bin)/python -m pytest $(workers)

coverage:     ## run all tests and list lines without a test (takes twice as long)
	@./bootstrap.sh sandbox
	@$(bin)/python -m pytest $(workers) --cov --cov-report term

check:        ## check style, types, layers, start-up and prose, without changing files
	@./bootstrap.sh
	$(bin)/ruff check --output-format concise .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports --no-logo
	$(bin)/python bench/startup.py --check
	$(bin)/python bench/prose.py --check
	$(bin)/python bench/web.py --check

constraints:  ## pin versions again after a change of dependencies
	@./bootstrap.sh
	PATH="$$PATH:$(CURDIR)/$(bin)" uv pip compile --quiet pyproject.toml --all-extras --group test --group check \
	  --python-version 3.11 --no-header --no-annotate --output-file constraints.txt
