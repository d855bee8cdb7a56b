# One image for every process: `up` runs them all; the Procfile has the command of each alone.
# Pin it by digest where you build: docs/operations.md, "Images by digest".
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE}
ENV PYTHONUNBUFFERED=1 OPENCODE_WEB_HOME=/data
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt
COPY . .
RUN useradd --uid 1000 --create-home web && install -d -o web /data
USER web
VOLUME /data
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
CMD ["python", "-m", "opencode_web", "up", "--host", "0.0.0.0"]
