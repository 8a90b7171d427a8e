/* A shared object, but no plugin. */
extern const int not_a_plugin;
__attribute__((visibility("default"))) const int not_a_plugin = 1;
