# The image of AutoCodeAI's server and of the Chroma server, which is part of the chromadb package.
FROM python:3.11-slim AS build
RUN python -m venv /opt/autocode
WORKDIR /source
COPY constraints.txt ./
COPY pyproject.toml README.md LICENSE ./
COPY graph graph
COPY nodes nodes
COPY tools tools
COPY sandbox sandbox
COPY memory memory
COPY server server
RUN /opt/autocode/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.11-slim
COPY --from=build /opt/autocode /opt/autocode
COPY deploy /opt/autocode/deploy
RUN useradd --uid 10000 --user-group --no-create-home --home-dir /data autocode \
 && install -d -o autocode -g autocode -m 700 /data /chroma /repos \
 && install -d -m 755 /run/autocode
ENV PATH=/opt/autocode/bin:$PATH PYTHONUNBUFFERED=1 ANONYMIZED_TELEMETRY=False \
    AUTOCODE_HOME=/data AUTOCODE_HOST=0.0.0.0 AUTOCODE_REPOS=/repos
USER autocode
WORKDIR /data
EXPOSE 8000
CMD ["sh", "/opt/autocode/deploy/start.sh"]
