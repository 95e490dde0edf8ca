package Fanout::App;

=head1 NAME

Fanout::App - what the page of an application does, for t/scenarios

=head1 SYNOPSIS

    my $ann = Fanout::App->new($nginx, path => '/realtime?ticket=abc.ann');

    $ann->mount('abc-participants', presence => { step => 1 }) or die;
    $ann->update('abc-participants', { step => 2 });

    Fanout::App::settle([ $ann, $bob ], sub { $bob->count($at) == 2 });

    $bob->users($at);           # user => [ member, ... ]
    $bob->told($at);            # what a page would show, one by one

    $ann->unmount($at);
    $ann->tick;                 # the leave is said now

=head1 DESCRIPTION

A client that keeps what a page shows: of each channel the list of members, by
the snapshot in the reply to its join and the changes from there on, and the
messages, by their offsets. It comes back with its resume token and with the
position of each channel. What a server that keeps its promises can't say is a
fault: a member that joins twice, a leave or an update of nobody, an offset or
a time that goes back, an entry without a time.

=over

=item new(nginx, path, worker?, quiet?)

C<worker> is that of the first connection. A C<quiet> one keeps the list and
nothing of what was told.

=item open(worker?)

Connects, or comes back. False if it was not let in; C<state> is then
C<failed> (it never will be), C<disconnected>, or C<suspended> after the third
time in a row. Who was not resumed joins all its channels anew.

=item state, error, loading(channel), connected, client, wire

What a page shows of the connection; the Fanout::Native behind it.

=item mount(channel, %join), unmount(channel), tick, join(channel, async?)

Joins; C<join> does it again, and does not wait for the reply if C<async>. The leave that an unmount means is said by the next C<tick>, unless the
channel is mounted again before: a framework that mounts twice is not seen to
leave. False if the join is refused: C<channel_state> is C<failed> and
C<channel_error> the code, whatever the connection does.

=item list(channel), count(channel), users(channel), offset(channel)

=item update(channel, fields), say(channel, data, %publish), put(op, %members)

Changes of oneself are merged. C<put> is any command, without waiting.

=item choose(channel, user), chosen(channel)

Whom one is about to write to: nobody any more when the last of his clients has
left, which is told as C<[ gone => member ]>.

=item told(channel, kind?)

What was told since: C<[ joined => member ]>, C<[ updated => member ]>,
C<[ left => member ]>, C<[ message => entry ]>, C<[ signal => signal ]>,
C<[ gap => gap ]>, C<[ recovered => bool ]>.

=item trace(channel, sub)

Is called with each change of members and the list after it; C<< wire->{last} >>
is the frame as it came.

=item pump, render

Takes what has come; the same once for each animation frame: true, and
C<renders> is one more, if there was anything to show.

=item cut, close

The network breaks; the page is closed.

=item faults

=item settle(apps, condition, timeout?)

Function: all take what comes until it is true.

=back

=cut

use strict;
use warnings;

use Fanout::JSON;
use Fanout::Nginx ();


sub new {
    my ($class, $nginx, %o) = @_;

    my $quiet = delete $o{quiet};

    return bless {
        nginx => $nginx, o => { %o }, quiet => $quiet, state => 'initialized', attempts => 0,
        channels => {}, faults => [], asked => {}, renders => 0,
    }, $class;
}


sub state     { $_[0]{state} }
sub error     { $_[0]{error} }
sub connected { $_[0]{state} eq 'connected' }
sub client    { $_[0]{client} }
sub wire      { $_[0]{wire} }
sub faults    { @{ $_[0]{faults} } }
sub renders   { $_[0]{renders} }

sub fault {
    my ($self, $text) = @_;

    push @{ $self->{faults} }, ($self->{client} || 'nobody') . ": $text";
}


# The connection

sub open {
    my ($self, %o) = @_;

    my $wire = eval {
        $self->{nginx}->client('Fanout::App::Wire', 'connect', expect => undef,
            path => $self->{o}{path}, $self->{client} ? () : %{ $self->{o} },
            %o,
            $self->{resume} ? (resume => $self->{resume}) : ());
    };

    if (!$wire || $wire->status != 101) {
        my $status = $wire ? $wire->status : 0;

        $self->{error} = $wire ? "refused by $status" : $@;
        $self->{state} = $status == 401 || $status == 403 ? 'failed'
                       : ++$self->{attempts} >= 3         ? 'suspended'
                       :                                    'disconnected';
        return 0;
    }

    my $w = $wire->welcome;

    $self->fault("resumed as $w->{client}")
        if $w->{resumed} && $w->{client} ne $self->{client};

    @$self{qw( state attempts error )} = ('connected', 0, undef);
    @$self{qw( wire client resume asked )} =
        ($wire, $w->{client}, $w->{resume}, {});
    $wire->{app} = $self;
    $self->handle($_) for splice @{ $wire->{pushes} };

    $self->join($_) for grep { $self->{channels}{$_}{state} ne 'detached' }
                        sort keys %{ $self->{channels} };

    return 1;
}


sub cut {
    my ($self) = @_;

    $self->{wire}->cut;
    $self->lost;
}


sub close {
    my ($self) = @_;

    $self->{wire}->close(1000);
    $self->{channels} = {};
    delete $self->{resume};
    $self->lost;
}


sub lost {
    my ($self) = @_;

    my $code = $self->{wire} ? $self->{wire}->close_code : undef;

    $self->{error} = 'connection lost'
                   . (defined $code ? ", closed by $code" : '');
    $self->{state} = defined $code && $code =~ /^440[139]$/ ? 'failed'
                                                            : 'disconnected';
    delete $self->{wire};

    for (values %{ $self->{channels} }) {
        $_->{state} = 'attaching' if $_->{state} eq 'attached';
    }
}


# Channels

sub of {
    my ($self, $channel) = @_;

    return $self->{channels}{$channel} ||= {
        name => $channel, state => 'detached', list => {}, told => [],
        join => {},
    };
}

sub channel_state { $_[0]->of($_[1])->{state} }
sub channel_error { $_[0]->of($_[1])->{error} }
sub loading       { !$_[0]->of($_[1])->{loaded} }
sub list          { $_[0]->of($_[1])->{list} }
sub count         { scalar keys %{ $_[0]->of($_[1])->{list} } }
sub offset        { $_[0]->of($_[1])->{offset} }
sub trace         { $_[0]->of($_[1])->{trace} = $_[2] }

sub users {
    my ($self, $channel) = @_;

    my %users;

    for (values %{ $self->list($channel) }) {
        push @{ $users{ $_->{user} // '' } }, $_;
    }

    return \%users;
}


sub mount {
    my ($self, $channel, %join) = @_;

    my $ch = $self->of($channel);

    return 1 if delete $ch->{leaving};

    $ch->{join} = \%join;
    $self->open if !$self->connected;

    return $self->connected && $self->join($channel);
}


sub unmount { $_[0]->of($_[1])->{leaving} = 1 }


sub tick {
    my ($self) = @_;

    for my $ch (grep { $_->{leaving} } values %{ $self->{channels} }) {
        $self->{wire}->ok('leave', channel => $ch->{name})
            if $ch->{state} eq 'attached';
        delete $self->{channels}{ $ch->{name} };
    }
}


# The list as it was is kept until the next is there: a page does not go blank

sub join {
    my ($self, $channel, $async) = @_;

    my $ch   = $self->of($channel);
    my %args = %{ $ch->{join} };

    $args{since} = { epoch => $ch->{epoch}, offset => $ch->{offset} }
        if defined $ch->{epoch};
    $args{presence} = $ch->{mine} if $ch->{mine};

    $ch->{state} = 'attaching';
    my $id = $self->put('join', channel => $channel, %args);
    $self->{asked}{$id} = $ch;

    return 1 if $async;
    return 1 if $self->{wire}->reply($id, 20) && $ch->{state} eq 'attached';

    $self->pump;
    return 0;
}


sub replied {
    my ($self, $ch, $reply) = @_;

    if ($reply->{error}) {
        $ch->{state} = 'failed';
        $ch->{error} = $reply->{error}{code};
        return;
    }

    my $ok   = $reply->{ok};
    my @part = @{ $reply->{part} || [] };

    if (exists $ok->{recovered}) {
        push @{ $ch->{told} }, [ recovered => !!$ok->{recovered} ];
        $ch->{offset} = 0 if !$ok->{recovered};
    }

    $self->message($ch, $_) for map { @{ $_->{messages} || [] } } @part, $ok;

    if (exists $ok->{members}) {
        my %list;

        for my $m (map { @{ $_->{members} || [] } } @part, $ok) {
            $self->fault("$m->{client} is there twice") if $list{ id($m) };
            $list{ id($m) } = $m;
        }

        $self->replace($ch, \%list);
    }

    # of what was asked for before a cut some may have been lost

    @$ch{qw( state loaded epoch offset error )} =
        ('attached', 1, $ok->{epoch}, $ok->{offset}, undef);
}


sub id { $_[0]{client} . '/' . ($_[0]{key} // '') }


# A list that was read anew: what a page has to show is what differs

sub replace {
    my ($self, $ch, $new) = @_;

    my $old = $ch->{list};

    $ch->{list} = $new;
    return if $self->{quiet};

    $self->gone($ch, $old->{$_}) for grep { !$new->{$_} } sort keys %$old;

    for (sort keys %$new) {
        my $kind = !$old->{$_} ? 'joined' : plain($old->{$_}) ne
                   plain($new->{$_}) ? 'updated' : next;

        push @{ $ch->{told} }, [ $kind => $new->{$_} ];
    }
}


sub plain { Fanout::JSON::encode([ $_[0]{data}, $_[0]{state} ]) }


sub gone {
    my ($self, $ch, $m) = @_;

    push @{ $ch->{told} }, [ left => $m ] if !$self->{quiet};

    if (defined $ch->{chosen} && $ch->{chosen} eq ($m->{user} // '')
        && !$self->users($ch->{name})->{ $ch->{chosen} })
    {
        delete $ch->{chosen};
        push @{ $ch->{told} }, [ gone => $m ];
    }
}


sub choose {
    my ($self, $channel, $user) = @_;

    $self->of($channel)->{chosen} = $user;
}

sub chosen { $_[0]->of($_[1])->{chosen} }


# Commands

sub put {
    my ($self, $op, %members) = @_;

    return $self->{wire}->send_cmd($op, %members);
}


sub update {
    my ($self, $channel, $fields) = @_;

    my $ch = $self->of($channel);

    $ch->{mine} = { %{ $ch->{mine} || $ch->{join}{presence} || {} },
                    %$fields };

    return $self->put('presence', channel => $channel, data => $fields,
                      merge => Fanout::JSON::true);
}


sub say {
    my ($self, $channel, $data, %o) = @_;

    return $self->{wire}->cmd('publish', channel => $channel, data => $data,
                              %o);
}


# What comes

sub pump {
    my ($self) = @_;

    my $wire = $self->{wire} or return;

    $wire->read_until(sub { 0 }, 0);
    $self->lost if $self->{wire} && ($wire->eof || defined $wire->close_code);
}


sub render {
    my ($self) = @_;

    $self->pump;

    my $new = grep { delete $_->{dirty} } values %{ $self->{channels} };

    $self->{renders}++ if $new;

    return $new;
}


sub told {
    my ($self, $channel, $kind) = @_;

    my @told = splice @{ $self->of($channel)->{told} };

    return grep { !defined $kind || $_->[0] eq $kind } @told;
}


sub handle {
    my ($self, $f) = @_;

    return if $f->{closing} || $f->{ping} || !defined $f->{channel};

    my $ch = $self->of($f->{channel});

    $ch->{dirty} = 1;

    if ($f->{signal}) {
        push @{ $ch->{told} }, [ signal => $f ];

    } elsif ($f->{left}) {
        @$ch{qw( state error )} = ('failed', $f->{left}{reason});
        delete $ch->{epoch};

    } elsif ($f->{reset}) {
        $ch->{epoch}  = $f->{reset}{epoch};
        $ch->{offset} = $f->{reset}{offset};
        push @{ $ch->{told} }, [ reset => $f->{reset} ];

    } elsif ($f->{gap}) {
        push @{ $ch->{told} }, [ gap => $f->{gap} ];
        $self->fault('a gap: ' . Fanout::JSON::encode($f->{gap}));

    } elsif ($f->{presence}) {
        $self->in_order($ch, $f) and $self->change($ch, $f);

    } else {
        $self->message($ch, $f);
    }
}


sub in_order {
    my ($self, $ch, $f) = @_;

    my $at = "$ch->{name} $f->{offset}";

    $self->fault("$at without a time") if ($f->{time} // '') !~ /^\d{13}$/;

    if ($f->{offset} <= ($ch->{offset} // 0)) {
        $self->fault("$at after $ch->{offset}");
        return 0;
    }

    $self->fault("$at: $f->{time} after $ch->{time}")
        if $f->{time} < ($ch->{time} // 0);

    @$ch{qw( offset time )} = @$f{qw( offset time )};

    return 1;
}


sub message {
    my ($self, $ch, $f) = @_;

    push @{ $ch->{told} }, [ message => $f ] if $self->in_order($ch, $f);
}


sub change {
    my ($self, $ch, $f) = @_;

    my ($list, $p) = ($ch->{list}, $f->{presence});

    for my $m (@{ $p->{left} || [] }) {
        $self->fault("left, but was not there: $m->{client}")
            if !delete $list->{ id($m) };
        $self->gone($ch, $m);
    }

    for my $kind (qw( joined updated )) {
        for my $m (@{ $p->{$kind} || [] }) {
            my $was = !!$list->{ id($m) };

            $self->fault("$kind: $m->{client} was " . ($was ? '' : 'not ')
                         . 'there') if $was != ($kind eq 'updated');
            $list->{ id($m) } = $m;
            push @{ $ch->{told} }, [ $kind => $m ] if !$self->{quiet};
        }
    }

    $ch->{trace}->($f, $list) if $ch->{trace};
}


sub settle {
    my ($apps, $condition, $timeout) = @_;

    return Fanout::Nginx::wait_for(sub {
        $_->pump for @$apps;
        return $condition->();
    }, $timeout // 20);
}


# Everything in the order in which it comes, replies too; what many are told in
# the same bytes is decoded once.

package Fanout::App::Wire;

use Fanout::Native;

our @ISA = qw( Fanout::Native );

my %decoded;


sub sort_in {
    my ($self, $text) = @_;

    my $app = $self->{app} or return $self->SUPER::sort_in($text);

    %decoded = () if keys %decoded > 1000;

    $self->{last} = $text;

    my $value = $decoded{$text} //= Fanout::JSON::decode($text);

    for my $f (ref $value eq 'ARRAY' ? @$value : $value) {
        my $id = $f->{id};

        if (!defined $id) {
            $app->handle($f);

        } elsif (exists $f->{part}) {
            push @{ $self->{parts}{$id} }, $f->{part};

        } else {
            my $parts = delete $self->{parts}{$id};
            my $reply = $parts ? { %$f, part => $parts } : $f;
            my $ch    = delete $app->{asked}{$id};

            $self->{replies}{$id} = $reply;
            $app->replied($ch, $reply) if $ch;
        }
    }
}


1;
