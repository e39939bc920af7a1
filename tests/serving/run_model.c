/* Runs a SavedModel through TensorFlow's C API: no Python, no Keras.

   run_model FOLDER INPUT OUTPUT INDEX float DIMENSIONS FILE...
   run_model FOLDER INPUT OUTPUT INDEX string RANK FILE...

   INPUT and OUTPUT are names of operations, INDEX the output's number. With `float`, a
   file holds raw float32 of the DIMENSIONS, such as 2,8,8,1; with `string`, it is the
   whole content of the one string of a tensor of that RANK. Each file is a request of
   its own. Prints a line each: "ok" and the numbers, or "error", TensorFlow's code and
   its message. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

static void fail(const char *message) {
  fprintf(stderr, "%s\n", message);
  exit(1);
}

static char *content(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) fail("cannot open a file");
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  char *bytes = malloc(*size + 1);
  if (fread(bytes, 1, *size, file) != *size) fail("cannot read a file");
  fclose(file);
  return bytes;
}

static TF_Tensor *floats(const char *dimensions, const char *path) {
  int64_t sides[8];
  int rank = 0;
  size_t size, expected = sizeof(float);
  char *copy = strdup(dimensions);
  for (char *part = strtok(copy, ","); part; part = strtok(NULL, ",")) {
    sides[rank] = atoll(part);
    expected *= (size_t)sides[rank++];
  }
  char *bytes = content(path, &size);
  if (size != expected) fail("a file has another size than its dimensions");
  TF_Tensor *tensor = TF_AllocateTensor(TF_FLOAT, sides, rank, size);
  memcpy(TF_TensorData(tensor), bytes, size);
  free(bytes);
  free(copy);
  return tensor;
}

static TF_Tensor *string(const char *rank, const char *path) {
  const int64_t sides[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  size_t size;
  char *bytes = content(path, &size);
  TF_Tensor *tensor =
      TF_AllocateTensor(TF_STRING, sides, atoi(rank), sizeof(TF_TString));
  TF_TString *text = TF_TensorData(tensor);
  TF_StringInit(text);
  TF_StringCopy(text, bytes, size);
  free(bytes);
  return tensor;
}

static void answer(TF_Session *session, TF_Output input, TF_Output output,
                   TF_Tensor *value, TF_Status *status) {
  TF_Tensor *result = NULL;
  TF_SessionRun(session, NULL, &input, &value, 1, &output, &result, 1, NULL, 0,
                NULL, status);
  if (TF_GetCode(status) != TF_OK) {
    printf("error %d ", (int)TF_GetCode(status));
    for (const char *c = TF_Message(status); *c; c++)
      putchar(*c == '\n' ? ' ' : *c);
  } else {
    const float *numbers = TF_TensorData(result);
    printf("ok");
    for (int64_t i = 0; i < TF_TensorElementCount(result); i++)
      printf(" %.9g", numbers[i]);
    TF_DeleteTensor(result);
  }
  printf("\n");
  TF_DeleteTensor(value);
}

int main(int count, char **arguments) {
  if (count < 8) fail("see the comment at the top of the source");
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(
      options, NULL, arguments[1], tags, 1, graph, NULL, status);
  if (TF_GetCode(status) != TF_OK) fail(TF_Message(status));
  TF_Output input = {TF_GraphOperationByName(graph, arguments[2]), 0};
  TF_Output output = {TF_GraphOperationByName(graph, arguments[3]),
                      atoi(arguments[4])};
  if (!input.oper || !output.oper) fail("no such operation");
  TF_Tensor *(*read)(const char *, const char *) =
      strcmp(arguments[5], "float") ? string : floats;
  for (int i = 7; i < count; i++)
    answer(session, input, output, read(arguments[6], arguments[i]), status);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
