"""Chat templates in the forms that published models use, shortened to what decides how calls and reasoning are written.

What they say to a model in words is left out.
"""

from tiny import make_tokenizer
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

CHATML = """{%- if tools %}<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{% endif %}# Tools

<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools>

For each function call, return a json object within <tool_call></tool_call> XML tags.<|im_end|>
{% elif messages[0].role == 'system' %}<|im_start|>system
{{ messages[0].content }}<|im_end|>
{% endif %}"""
# Qwen 2.5 and 3, Hermes: a JSON object in tags, as many as wanted; with reasoning before the answer.
HERMES = (
    CHATML
    + """{%- for message in messages %}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- elif message.role == 'assistant' %}
{%- set content = message.content %}
{%- set reasoning = '' %}
{%- if message.reasoning_content is string %}{% set reasoning = message.reasoning_content %}
{%- elif '</think>' in content %}
{%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
{%- set content = content.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if loop.last or reasoning %}{{- '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' }}{% endif %}
{{- content }}
{%- if message.tool_calls %}
{%- for tool_call in message.tool_calls %}
{%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
{%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
{{- '<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
{%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""
)
# Llama 3.1: bare JSON at the beginning of the answer, one call at a time.
LLAMA = """{{- bos_token }}{%- if tools is not none %}{{- '<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge.\\n' }}
{%- for t in tools %}{{- t | tojson(indent=4) }}{{- '\\n\\n' }}{%- endfor %}{{- '<|eot_id|>' }}{%- endif %}
{%- for message in messages %}
{%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- elif 'tool_calls' in message %}
{%- if not message.tool_calls | length == 1 %}{{- raise_exception("This model only supports single tool-calls at once!") }}{%- endif %}
{%- set tool_call = message.tool_calls[0].function %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{{- '{"name": "' + tool_call.name + '", ' }}{{- '"parameters": ' }}{{- tool_call.arguments | tojson }}{{- '}' }}
{{- '<|eot_id|>' }}
{%- elif message.role == 'tool' or message.role == 'ipython' %}
{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}
{%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}
{{- '<|eot_id|>' }}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
# Llama 3.1's other form, that begins with a control token.
PYTHON_TAG = LLAMA.replace("""{{- '{"name": "'""", """{{- '<|python_tag|>{"name": "'""")
# Mistral 7B v0.3: a list of calls with ids of nine characters, after a control token; turns must alternate.
MISTRAL = """{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}
{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}{%- set ns.index = 0 %}
{%- for message in loop_messages %}
{%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
{%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
{{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
{%- endif %}{%- set ns.index = ns.index + 1 %}{%- endif %}{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
{%- if message["role"] == "user" %}
{%- if tools is not none and (message == user_messages[-1]) %}{{- "[AVAILABLE_TOOLS] " + tools | tojson + "[/AVAILABLE_TOOLS]" }}{%- endif %}
{{- "[INST] " + message["content"] + "[/INST]" }}
{%- elif message.tool_calls is defined and message.tool_calls is not none %}
{{- "[TOOL_CALLS] [" }}
{%- for tool_call in message.tool_calls %}
{%- set out = tool_call.function | tojson %}{{- out[:-1] }}
{%- if not tool_call.id is defined or tool_call.id | length != 9 %}{{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}{%- endif %}
{{- ', "id": "' + tool_call.id + '"}' }}
{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
{%- endfor %}
{%- elif message["role"] == "assistant" %}{{- " " + message["content"] + eos_token }}
{%- elif message["role"] == "tool" %}
{{- '[TOOL_RESULTS] {"content": ' + message.content | tojson + ', "call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
{%- endif %}{%- endfor %}"""
# Mistral Small 3.2: a control token before each name, another before its arguments.
MISTRAL_ARGS = """{{- bos_token }}{%- if tools %}{{- '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}{%- endif %}
{%- for message in messages %}
{%- if message['role'] == 'user' %}{{- '[INST]' + message['content'] + '[/INST]' }}
{%- elif message['role'] == 'assistant' %}{{- message['content'] }}
{%- for tool_call in message.tool_calls or [] %}
{%- set arguments = tool_call.function.arguments %}
{{- '[TOOL_CALLS]' + tool_call.function.name + '[ARGS]' + (arguments if arguments is string else arguments | tojson) }}
{%- endfor %}{{- eos_token }}
{%- elif message['role'] == 'tool' %}{{- '[TOOL_RESULTS]' + message['content'] + '[/TOOL_RESULTS]' }}
{%- endif %}{%- endfor %}"""
# Function Gemma: names and values in marks of their own, no JSON.
GEMMA = """{{- bos_token }}{%- if tools %}{{- '<start_of_turn>developer\\n' }}{%- for tool in tools %}{{- '<start_function_declaration>declaration:' + tool.function.name + '{description:<escape>' + (tool.function.description or '') + '<escape>}<end_function_declaration>' }}{%- endfor %}{{- '<end_of_turn>\\n' }}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}{{- '<start_function_response>response:' + (message.name or '') + '{value:<escape>' + message.content + '<escape>}<end_function_response>' }}
{%- else %}{{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' + message.content | trim }}
{%- for tool_call in message.tool_calls or [] %}
{{- '<start_function_call>call:' + tool_call.function.name + '{' }}
{%- for key, value in tool_call.function.arguments | dictsort %}
{{- key + ':' }}{%- if value is string %}{{- '<escape>' + value + '<escape>' }}{%- else %}{{- value | tojson }}{%- endif %}
{%- if not loop.last %}{{- ',' }}{%- endif %}{%- endfor %}
{{- '}<end_function_call>' }}{%- endfor %}
{{- '<end_of_turn>\\n' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}"""
# Qwen3-Coder: a tag for the function and one for each parameter, values as they are.
XML = (
    CHATML
    + """{%- for message in messages %}
{%- if message.role == 'tool' %}{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- elif message.role != 'system' %}{{- '<|im_start|>' + message.role + '\\n' + message.content | trim }}
{%- for tool_call in message.tool_calls or [] %}
{%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
{{- '\\n<tool_call>\\n<function=' + tool_call.name + '>\\n' }}
{%- for name, value in tool_call.arguments | items %}
{{- '<parameter=' + name + '>\\n' }}{{- value if value is string else value | tojson }}{{- '\\n</parameter>\\n' }}
{%- endfor %}{{- '</function>\\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
)
# gpt-oss: channels; a call goes to a recipient named in the turn's header.
HARMONY = """{{- '<|start|>system<|message|>You are a model.<|end|>' }}
{%- if tools %}{{- '<|start|>developer<|message|># Tools\\n\\nnamespace functions {\\n' }}{%- for tool in tools %}{{- 'type ' + tool.function.name + ' = (_: ' + tool.function.parameters | tojson + ') => any;\\n' }}{%- endfor %}{{- '}<|end|>' }}{%- endif %}
{%- set ns = namespace(name=none) %}
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{%- if message.tool_calls %}
{%- if message.thinking %}{{- '<|start|>assistant<|channel|>analysis<|message|>' + message.thinking + '<|end|>' }}{%- endif %}
{%- set tool_call = message.tool_calls[0].function %}{%- set ns.name = tool_call.name %}
{{- '<|start|>assistant to=functions.' + tool_call.name + '<|channel|>commentary json<|message|>' }}
{{- tool_call.arguments | tojson }}{{- '<|call|>' }}
{%- else %}
{%- if message.thinking and loop.last %}{{- '<|start|>assistant<|channel|>analysis<|message|>' + message.thinking + '<|end|>' }}{%- endif %}
{{- '<|start|>assistant<|channel|>final<|message|>' + message.content + ('<|return|>' if loop.last and not add_generation_prompt else '<|end|>') }}
{%- endif %}
{%- elif message.role == 'tool' %}{{- '<|start|>functions.' + ns.name + ' to=assistant<|channel|>commentary<|message|>' + message.content | tojson + '<|end|>' }}
{%- else %}{{- '<|start|>' + message.role + '<|message|>' + message.content + '<|end|>' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}"""
# DeepSeek R1: reasoning that the prompt opens, and arguments as the JSON text that clients send.
DEEPSEEK = """{{- bos_token }}{%- for message in messages %}
{%- if message['role'] == 'user' %}{{- '<|User|>' + message['content'] }}
{%- elif message['role'] == 'system' %}{{- message['content'] }}
{%- elif message['role'] == 'tool' %}{{- '<|tool_output_begin|>' + message['content'] + '<|tool_output_end|>' }}
{%- elif message['role'] == 'assistant' %}
{%- set content = message['content'] %}
{%- if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}
{{- '<|Assistant|>' + content }}
{%- if message['tool_calls'] %}{{- '<|tool_calls_begin|>' }}{%- for tool in message['tool_calls'] %}
{{- '<|tool_call_begin|>' + tool['type'] + '<|tool_sep|>' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments'] + '\\n' + '```' + '<|tool_call_end|>' }}
{%- endfor %}{{- '<|tool_calls_end|>' }}{%- endif %}
{{- eos_token }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|Assistant|><think>\\n' }}{%- endif %}"""
# Knows neither tools nor a system's turn.
PLAIN = """{{ bos_token }}{% for message in messages %}{% if message['role'] not in ['user', 'assistant'] %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}[{{ message['role'] }}] {{ message['content'] }}
{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"""

ALL = {
    "hermes": HERMES,
    "llama": LLAMA,
    "python_tag": PYTHON_TAG,
    "mistral": MISTRAL,
    "mistral_args": MISTRAL_ARGS,
    "gemma": GEMMA,
    "xml": XML,
    "harmony": HARMONY,
    "deepseek": DEEPSEEK,
    "plain": PLAIN,
}
# Control tokens of those above: special ones, and others that are added to the vocabulary as Qwen's are.
SPECIAL = """<|im_start|> <|im_end|> <|start_header_id|> <|end_header_id|> <|eot_id|> <|python_tag|> [TOOL_CALLS] [ARGS]
[TOOL_RESULTS] [/TOOL_RESULTS] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [INST] [/INST] <start_of_turn> <end_of_turn>
<start_function_call> <end_function_call> <escape> <|start|> <|end|> <|message|> <|channel|> <|call|> <|return|> <|User|>
<|Assistant|> <|tool_calls_begin|> <|tool_calls_end|> <|tool_call_begin|> <|tool_call_end|> <|tool_sep|>""".split()
ADDED = "<think> </think> <tool_call> </tool_call> <tool_response> </tool_response>".split()
# What ends an assistant's turn in any of them.
ENDS = "<|im_end|> <|eot_id|> <end_of_turn> <|call|> <|return|> </s>".split()


def make_knowing_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that has the control tokens of them all."""
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in ADDED])
    return tokenizer
